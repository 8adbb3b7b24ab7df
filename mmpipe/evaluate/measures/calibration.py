"""Is confidence to be believed: calibration error, Brier score, likelihood, and what giving up the unsure buys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.measures.statistic import Statistic, divided, mean_of
from mmpipe.evaluate.metrics import CALIBRATION_BINS, SMALLEST_PROBABILITY


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The clips whose confidence is in `(low, high]`."""

    low: float
    high: float
    num_clips: int
    confidence: float  # mean; 0 where no clip is in it
    accuracy: float  # 0 where no clip is in it


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskPoint:
    """What is wrong among the most confident share of the clips."""

    coverage: float
    risk: float


def calibration(predictions: ClassAnswers) -> dict[str, Statistic]:
    """Return the calibration measures: ECE of 15 equal-width and of 15 equally filled bins, Brier, NLL, AURC."""
    truth_NK = np.eye(len(predictions.classes))[predictions.labels_N]
    true_N = predictions.probabilities_NK[np.arange(len(truth_NK)), predictions.labels_N]
    return {
        "ece": _binned_gap(predictions, _equal_width(predictions)),
        "ece_adaptive": _binned_gap(predictions, _equally_filled(predictions)),
        "brier": mean_of(((predictions.probabilities_NK - truth_NK) ** 2).sum(axis=1)),
        "nll": mean_of(-np.log(np.maximum(true_N, SMALLEST_PROBABILITY))),
        "aurc": area_under_risk(predictions),
    }


def reliability(predictions: ClassAnswers) -> tuple[ReliabilityBin, ...]:
    """Return the table behind a reliability diagram: 15 bins of equal width over the confidence."""
    bin_N, confidence_N = _equal_width(predictions), predictions.probabilities_NK.max(axis=1)
    counts = np.bincount(bin_N, minlength=CALIBRATION_BINS)
    sums = np.bincount(bin_N, weights=confidence_N, minlength=CALIBRATION_BINS)
    hits = np.bincount(bin_N, weights=predictions.correct_N, minlength=CALIBRATION_BINS)
    return tuple(
        ReliabilityBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            num_clips=int(count),
            confidence=float(total / max(count, 1)),
            accuracy=float(right / max(count, 1)),
        )
        for number, (count, total, right) in enumerate(zip(counts, sums, hits, strict=True))
    )


def risk_coverage(
    predictions: ClassAnswers, coverages: tuple[float, ...] = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
) -> tuple[RiskPoint, ...]:
    """Return the share of wrong answers among the most confident clips; equal confidences stand or fall together."""
    confidence_N = predictions.probabilities_NK.max(axis=1)
    falling_N = np.sort(confidence_N)[::-1]
    points = []
    for coverage in coverages:
        least = falling_N[max(1, int(np.ceil(coverage * len(falling_N)))) - 1]
        kept_N = confidence_N >= least
        points.append(RiskPoint(coverage=float(kept_N.mean()), risk=float(1 - predictions.correct_N[kept_N].mean())))
    return tuple(points)


def area_under_risk(predictions: ClassAnswers) -> Statistic:
    """Return the area under the risk-coverage curve: mean risk over all coverages (Geifman and El-Yaniv 2017).

    Clips of equal confidence share the mean error of their step, so their order says nothing.
    """
    confidence_N = predictions.probabilities_NK.max(axis=1)
    order_N = np.argsort(-confidence_N, kind="stable")
    sorted_N = confidence_N[order_N]
    last_S = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True))
    wrong_N = ~predictions.correct_N[order_N]

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        weights_DN = weights_DN[:, order_N]
        covered_DS = np.cumsum(weights_DN, axis=1)[:, last_S]
        wrong_DS = np.cumsum(weights_DN * wrong_N, axis=1)[:, last_S]
        risk_DS = wrong_DS / np.maximum(covered_DS, 1e-300)
        share_DS = np.diff(covered_DS, axis=1, prepend=0.0)
        return divided((risk_DS * share_DS).sum(axis=1), covered_DS[:, -1])

    return measure


def _binned_gap(predictions: ClassAnswers, bin_N: np.ndarray) -> Statistic:
    gap_N = predictions.probabilities_NK.max(axis=1) - predictions.correct_N
    gaps_NB = np.zeros((len(gap_N), int(bin_N.max()) + 1))
    gaps_NB[np.arange(len(gap_N)), bin_N] = gap_N
    return lambda weights_DN: divided(np.abs(weights_DN @ gaps_NB).sum(axis=1), weights_DN.sum(axis=1))


def _equal_width(predictions: ClassAnswers) -> np.ndarray:
    confidence_N = predictions.probabilities_NK.max(axis=1)
    return np.clip(np.ceil(confidence_N * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)


def _equally_filled(predictions: ClassAnswers) -> np.ndarray:
    """Return a bin per clip so that each holds as many, but that equal confidences are never parted."""
    confidence_N = predictions.probabilities_NK.max(axis=1)
    edges = np.quantile(confidence_N, np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS)
    return np.searchsorted(np.unique(edges), confidence_N, side="left")
