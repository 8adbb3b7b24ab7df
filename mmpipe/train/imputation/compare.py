"""The rule: an imputer must beat every simpler one on clips that none of them learnt from, or it is switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.train.imputation.choose import GAN_CHOICES, Fitted, fit_chosen
from mmpipe.train.imputation.error import CONFIDENCE, HeldOut, Range, clustered_range, held_out_errors
from mmpipe.train.imputation.gan import GanSettings
from mmpipe.train.imputation.observed import Observed
from mmpipe.train.imputation.report import ImputationReport, ImputerScore

# What each must beat; a generator is the most complicated, and has the most to show.
RIVALS: Mapping[Imputation, tuple[Imputation, ...]] = {
    Imputation.MEAN: (),
    Imputation.RIDGE: (Imputation.MEAN,),
    Imputation.KNN: (Imputation.MEAN,),
    Imputation.GAN: (Imputation.MEAN, Imputation.RIDGE, Imputation.KNN),
}


def fit_imputer(
    wanted: Imputation, train: Observed, judged: Observed, seed: int, choices: Sequence[GanSettings] = GAN_CHOICES
) -> tuple[Imputer | None, ImputationReport]:
    """Fit an imputer and its rivals on training clips, judge them on others; return it only where it may be used.

    It may where the lower end of every gain in squared error, clustered by group, is above 0.
    """
    if not (len(train.pairs()) and len(judged.pairs())):
        where = "training" if not len(train.pairs()) else "validation"
        return None, _unjudged(wanted, f"no {where} clip has two of {list(train.features)}, so nothing can be checked")
    fitted = {method: fit_chosen(method, train, seed, choices) for method in (*RIVALS[wanted], wanted)}
    errors = {method: held_out_errors(one.imputer, judged) for method, one in fitted.items()}
    gains = gains_over(wanted, errors)
    kept = all(gain.low > 0 for gain in gains.values())
    report = ImputationReport(
        wanted=wanted,
        kept=kept,
        reason=reason_of(wanted, errors, gains),
        num_clips=len(judged.pairs()),
        num_groups=len(np.unique(errors[wanted].groups_E)),
        scores=tuple(score_of(method, fitted[method], errors[method]) for method in fitted),
        gains={method.value: gain for method, gain in gains.items()},
    )
    return (fitted[wanted].imputer if kept else None), report


def gains_over(wanted: Imputation, errors: Mapping[Imputation, HeldOut]) -> dict[Imputation, Range]:
    """Return what the wanted imputer has over each of the others, entry by entry."""
    mine = errors[wanted]
    return {
        method: clustered_range(other.squared_E - mine.squared_E, mine.groups_E)
        for method, other in errors.items()
        if method is not wanted
    }


def score_of(method: Imputation, fitted: Fitted, errors: HeldOut) -> ImputerScore:
    """Return an imputer's errors with their intervals."""
    return ImputerScore(
        method=method,
        settings=fitted.settings,
        squared_error=clustered_range(errors.squared_E, errors.groups_E),
        absolute_error=clustered_range(errors.absolute_E, errors.groups_E),
        by_feature={
            str(feature): float(errors.of(feature).squared_E.mean()) for feature in np.unique(errors.features_E)
        },
    )


def reason_of(wanted: Imputation, errors: Mapping[Imputation, HeldOut], gains: Mapping[Imputation, Range]) -> str:
    """Say in one sentence whether the imputer is used, and why."""
    num_groups = len(np.unique(errors[wanted].groups_E))
    over = f"{num_groups} groups" if num_groups > 1 else "the clips of a single group, which is too narrow"
    error = errors[wanted].squared_E.mean()
    if not gains:
        return f"{wanted} is used: it is the simplest guess, with a squared error of {error:.3f}"
    worst = min(gains, key=lambda method: gains[method].low)
    gain = gains[worst]
    told = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] at {CONFIDENCE:.0%} over {over}"
    if gain.low > 0:
        return f"{wanted} is used: its squared error, {error:.3f}, is below that of {worst} by {told}"
    return f"{wanted} is switched off: that it has a smaller squared error than {worst} is not shown, {told}"


def _unjudged(wanted: Imputation, why: str) -> ImputationReport:
    reason = f"{wanted} is switched off: {why}"
    return ImputationReport(wanted=wanted, kept=False, reason=reason, num_clips=0, num_groups=0, scores=(), gains={})
