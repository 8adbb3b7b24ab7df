"""How a model fares when modalities are missing, when values are noisy, and on slices of the clips.

A clip's answer does not depend on which other clips are asked, so what a share of missing clips does needs no random
draw: the expected worth is a mix of what the model says with and without the modality, exact over all choices of
clips. Rates and levels: 0 is the clips as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.contribution import Subset
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.measures.statistic import Statistic, intervals, mean_of, ratio_of

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
ANY = "any"  # every modality of every clip is missing with the rate, each on its own
SMALL_CLIPS, SMALL_GROUPS = 30, 5  # below, a slice's number says little, and that is said


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The worth (of classes: the accuracy) at a rate of missing clips, or at a level of noise."""

    at: float
    worth: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What becomes of the worth as one thing gets worse."""

    what: str  # the modality, or "any"
    points: tuple[CurvePoint, ...]
    area: Interval | None  # mean worth over all rates from 0 to 1; None for noise, whose levels have no end


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceScore:
    """The model on the clips that have one value of a column."""

    column: str
    value: str
    num_clips: int
    num_groups: int
    worth: Interval
    over_rest: Interval | None  # its worth less that of all other clips; None where there are none
    is_small: bool  # too few clips or groups to say much


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Where a model's worth bends."""

    model: str
    measure: str  # what all of it is in: "accuracy", "R2"
    missing: tuple[Curve, ...]
    noise: tuple[Curve, ...]
    slices: tuple[SliceScore, ...]
    not_measured: tuple[str, ...]  # what could not be asked, and why

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def missing_curves(
    answers: Mapping[Subset, Answers], *, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[Curve, ...]:
    """Return a curve per modality and, where all subsets are known, one of all modalities missing at random."""
    whole = max(answers, key=len)
    keys = answers[whole].keys
    worths = {kept: found.aligned_to(keys).worth_N for kept, found in answers.items()}
    mixes: dict[str, dict[Subset, list[float]]] = {
        name: {whole: [1 - rate for rate in RATES] + [0.5], whole - {name}: [*RATES, 0.5]} for name in sorted(whole)
    }
    if len(whole) > 1 and len(worths) == 2 ** len(whole):
        mixes[ANY] = {kept: _shares_at_random(len(whole), len(kept)) for kept in worths}
    wanted: dict[str, Statistic] = {}
    for what, mix in mixes.items():
        for place in range(len(RATES) + 1):
            mixed_N = np.sum([shares[place] * worths[kept] for kept, shares in mix.items()], axis=0)
            wanted[f"{what} {place}"] = mean_of(mixed_N)
    found = intervals(wanted, answers[whole].groups, confidence=confidence, draws=draws, seed=seed)
    return tuple(
        Curve(
            what=what,
            points=tuple(CurvePoint(at=rate, worth=found[f"{what} {n}"]) for n, rate in enumerate(RATES)),
            area=found[f"{what} {len(RATES)}"],
        )
        for what in mixes
    )


def noise_curves(
    clean: Answers,
    noisy: Mapping[str, Mapping[float, Answers]],
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Curve, ...]:
    """Return a curve per modality from answers to values with noise of so many training-set deviations."""
    asked = {(what, level): found for what, levels in noisy.items() for level, found in levels.items()}
    wanted = {
        f"{what} {level}": mean_of(found.aligned_to(clean.keys).worth_N) for (what, level), found in asked.items()
    }
    found = intervals(
        {"clean": mean_of(clean.worth_N), **wanted}, clean.groups, confidence=confidence, draws=draws, seed=seed
    )
    return tuple(
        Curve(
            what=what,
            points=(
                CurvePoint(at=0.0, worth=found["clean"]),
                *(CurvePoint(at=level, worth=found[f"{what} {level}"]) for level in sorted(levels)),
            ),
            area=None,
        )
        for what, levels in noisy.items()
    )


def slice_scores(
    predictions: Answers,
    columns: Mapping[str, Sequence[str]],
    *,
    most: int = 20,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[SliceScore, ...]:
    """Return the worth per value of each column, the values with most clips first; "" is no value.

    An interval resamples the groups of all clips, so that a slice of few groups is as uncertain as it is.
    """
    found = []
    for column, values in columns.items():
        value_N = np.array(values)
        known, counts = np.unique(value_N[value_N != ""], return_counts=True)
        for value in sorted(known.tolist(), key=lambda name: (-counts[known == name][0], name))[:most]:
            wanted = {"confidence": confidence, "draws": draws, "seed": seed}
            found.append(_slice_score(predictions, column, value, value_N == value, **wanted))  # type: ignore[arg-type]
    return tuple(found)


def _slice_score(
    predictions: Answers, column: str, value: str, inside_N: np.ndarray, *, confidence: float, draws: int, seed: int
) -> SliceScore:
    inside = _worth_among(predictions, inside_N)
    outside = _worth_among(predictions, ~inside_N)

    def over_rest(weights_DN: np.ndarray) -> np.ndarray:
        return inside(weights_DN) - outside(weights_DN)

    found = intervals(
        {"in": inside, "over": over_rest}, predictions.groups, confidence=confidence, draws=draws, seed=seed
    )
    groups = {group for group, is_in in zip(predictions.groups, inside_N.tolist(), strict=True) if is_in}
    size = int(inside_N.sum())
    return SliceScore(
        column=column,
        value=value,
        num_clips=size,
        num_groups=len(groups),
        worth=found["in"],
        over_rest=found.get("over"),
        is_small=size < SMALL_CLIPS or len(groups) < SMALL_GROUPS,
    )


def _worth_among(predictions: Answers, among_N: np.ndarray) -> Statistic:
    """Return the worth of some clips as if there were no others."""
    worth_N = np.zeros(len(among_N))
    rows = np.flatnonzero(among_N)
    if len(rows):
        worth_N[rows] = predictions.take(rows).worth_N
    return ratio_of(worth_N, among_N)


def _shares_at_random(total: int, kept: int) -> list[float]:
    """Return how likely just these modalities are left at each rate, and that share's mean over all rates.

    The mean of (1 - r)^k r^(M - k) over r in [0, 1] is 1 / ((M + 1) C(M, k)), a value of the Beta function.
    """
    return [(1 - rate) ** kept * rate ** (total - kept) for rate in RATES] + [1 / ((total + 1) * comb(total, kept))]
