"""Make confidence honest with one number, and only where that is shown to help (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmpipe.evaluate.answers.base import Answers, join
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.metrics import SMALLEST_PROBABILITY, calibration_error, negative_log_likelihood
from mmpipe.types import digest_of

COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureChoice:
    """The temperature to use, and what was seen on groups that it was not fitted on.

    `fitted` is what all predictions ask for; `temperature` is that, or 1 where it did not help others.
    """

    temperature: float
    fitted: float
    helps: bool
    reason: str
    likelihood_before: float  # negative log likelihood at temperature 1
    likelihood_after: float  # the same where each group was scaled by a temperature fitted on the others
    calibration_before: float
    calibration_after: float


def apply_temperature(predictions: ClassAnswers, temperature: float) -> ClassAnswers:
    """Return the predictions as if the logits had been divided by the temperature; no decision changes."""
    return replace(predictions, probabilities_NK=at_temperature(predictions.probabilities_NK, temperature))


def at_temperature(probabilities_NK: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities as if the logits had been divided by the temperature."""
    if not temperature > 0:
        raise ValueError(f"a temperature must be > 0, got {temperature}")
    if temperature == 1:
        return probabilities_NK
    logits_NK = np.log(np.maximum(probabilities_NK, SMALLEST_PROBABILITY)) / temperature
    scaled_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    return scaled_NK / scaled_NK.sum(axis=1, keepdims=True)


def scaled(answers: Answers, temperature: float) -> Answers:
    """Return answers at their temperature, which classes alone have."""
    return apply_temperature(answers, temperature) if isinstance(answers, ClassAnswers) else answers


def fit_temperature(predictions: ClassAnswers) -> float:
    """Return the temperature in [0.05, 20] under which the labels are most likely."""

    def cost(log_temperature: float) -> float:
        return negative_log_likelihood(apply_temperature(predictions, float(np.exp(log_temperature))))

    from scipy.optimize import minimize_scalar  # as scikit-learn in metrics.py

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def choose_temperature(predictions: ClassAnswers, *, folds: int = 5) -> TemperatureChoice:
    """Fit a temperature on validation predictions; keep 1 unless it also helps groups that it was not fitted on."""
    fitted = fit_temperature(predictions)
    before = negative_log_likelihood(predictions), calibration_error(predictions)
    crossed = _cross_fitted(predictions, folds)
    if crossed is None:
        after, helps, reason = before, False, "one group alone cannot show that a temperature helps others"
    else:
        after = negative_log_likelihood(crossed), calibration_error(crossed)
        helps = after[0] < before[0] and after[1] <= before[1]
        reason = "helps on held-out groups" if helps else "does not help on held-out groups"
    return TemperatureChoice(
        temperature=fitted if helps else 1.0,
        fitted=fitted,
        helps=helps,
        reason=reason,
        likelihood_before=before[0],
        likelihood_after=after[0],
        calibration_before=before[1],
        calibration_after=after[1],
    )


def _cross_fitted(predictions: ClassAnswers, folds: int) -> ClassAnswers | None:
    """Return every group scaled by the temperature of the other folds' groups; None for a single group."""
    groups = sorted(set(predictions.groups), key=lambda group: digest_of("temperature", group))
    folds = min(folds, len(groups))
    if folds < 2:
        return None
    fold_of = {group: place % folds for place, group in enumerate(groups)}
    fold_N = np.array([fold_of[group] for group in predictions.groups])
    parts = []
    for fold in range(folds):
        temperature = fit_temperature(predictions.take(np.flatnonzero(fold_N != fold)))
        parts.append(apply_temperature(predictions.take(np.flatnonzero(fold_N == fold)), temperature))
    return join(parts)
