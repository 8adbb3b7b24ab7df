"""A number per clip: errors, correlation, likelihood and coverage, and the accuracies that sentiment is reported by."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, divided, mean_of, ratio_of

COVERED = 0.9  # of the truth, by intervals that are meant to hold so much


def regression(truth_N: np.ndarray, answer_N: np.ndarray, variance_N: np.ndarray | None = None) -> dict[str, Statistic]:
    """Return the measures of answers; with the variance that a model claims also its likelihood and coverage.

    Pearson and R2 are not defined where the truth (or, for Pearson, the answer) is everywhere the same.
    """
    _require(truth_N, answer_N)
    error_N = answer_N - truth_N
    squared = mean_of(error_N**2)
    found = {
        "mae": mean_of(np.abs(error_N)),
        "rmse": lambda weights_DN: np.sqrt(squared(weights_DN)),
        "pearson": _pearson(truth_N, answer_N),
        "r2": _r2(truth_N, error_N),
    }
    if variance_N is None:
        return found
    if variance_N.shape != truth_N.shape or not (variance_N > 0).all():
        raise ValueError(f"a variance > 0 per clip is needed, got {variance_N.shape} with min {variance_N.min()}")
    reach = NormalDist().inv_cdf((1 + COVERED) / 2)
    return found | {
        "nll": mean_of(0.5 * (np.log(2 * np.pi * variance_N) + error_N**2 / variance_N)),
        "coverage_90": mean_of(np.abs(error_N) <= reach * np.sqrt(variance_N)),
    }


def joint_likelihood(truth_NQ: np.ndarray, mean_NQ: np.ndarray, covariance_NQQ: np.ndarray) -> np.ndarray:
    """Return -log N(t; mu, Sigma) of all quantities together, per clip, in nats."""
    error_NQ = truth_NQ - mean_NQ
    white_NQ = np.linalg.solve(covariance_NQQ, error_NQ[:, :, None])[:, :, 0]
    log_det_N = np.linalg.slogdet(covariance_NQQ).logabsdet
    return 0.5 * ((error_NQ * white_NQ).sum(axis=1) + log_det_N + truth_NQ.shape[1] * np.log(2 * np.pi))


def sentiment(truth_N: np.ndarray, answer_N: np.ndarray) -> dict[str, Statistic]:
    """Return the accuracies of sentiment in [-3, 3] as CMU-MOSI work reports them (MMSA: utils/metricsTop.py).

    acc2_has0 asks for truth >= 0 of all clips, acc2_non0 for truth > 0 of the clips whose truth is not 0; acc5 and
    acc7 round truth and answer, cut to [-2, 2] and [-3, 3], to whole numbers (halves to the even one). F1 is weighted.
    """
    _require(truth_N, answer_N)
    every_N, charged_N = np.ones(len(truth_N), bool), truth_N != 0
    return {
        "acc2_has0": mean_of((truth_N >= 0) == (answer_N >= 0)),
        "f1_has0": _two_way_f1(truth_N >= 0, answer_N >= 0, every_N),
        "acc2_non0": ratio_of(((truth_N > 0) == (answer_N > 0)) & charged_N, charged_N),
        "f1_non0": _two_way_f1(truth_N > 0, answer_N > 0, charged_N),
        "acc5": mean_of(_rounded(truth_N, 2) == _rounded(answer_N, 2)),
        "acc7": mean_of(_rounded(truth_N, 3) == _rounded(answer_N, 3)),
    }


def _require(truth_N: np.ndarray, answer_N: np.ndarray) -> None:
    if truth_N.shape != answer_N.shape or truth_N.ndim != 1 or not len(truth_N):
        raise ValueError(f"one truth and one answer per clip, got {truth_N.shape} and {answer_N.shape}")
    if not (np.isfinite(truth_N).all() and np.isfinite(answer_N).all()):
        raise ValueError("a truth or an answer is not a finite number")


def _pearson(truth_N: np.ndarray, answer_N: np.ndarray) -> Statistic:
    x_N, y_N = truth_N - truth_N.mean(), answer_N - answer_N.mean()  # near zero, the sums below lose no digits

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        size_D = weights_DN.sum(axis=1)
        x_D, y_D = weights_DN @ x_N / size_D, weights_DN @ y_N / size_D
        xx_D = np.maximum(weights_DN @ x_N**2 / size_D - x_D**2, 0)
        yy_D = np.maximum(weights_DN @ y_N**2 / size_D - y_D**2, 0)
        return divided(weights_DN @ (x_N * y_N) / size_D - x_D * y_D, np.sqrt(xx_D * yy_D))

    return measure


def _r2(truth_N: np.ndarray, error_N: np.ndarray) -> Statistic:
    x_N = truth_N - truth_N.mean()

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        size_D = weights_DN.sum(axis=1)
        spread_D = weights_DN @ x_N**2 - (weights_DN @ x_N) ** 2 / size_D
        return 1 - divided(weights_DN @ error_N**2, spread_D)

    return measure


def _two_way_f1(truth_N: np.ndarray, answer_N: np.ndarray, among_N: np.ndarray) -> Statistic:
    """Return the F1 of both sides, weighted by their clips."""

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        total_D = np.zeros(len(weights_DN))
        for side_N, said_N in ((truth_N, answer_N), (~truth_N, ~answer_N)):
            support_D = weights_DN @ (side_N & among_N)
            hits_D, called_D = weights_DN @ (side_N & said_N & among_N), weights_DN @ (said_N & among_N)
            total_D += support_D * np.nan_to_num(divided(2 * hits_D, support_D + called_D))
        return divided(total_D, weights_DN @ among_N.astype(float))

    return measure


def _rounded(values_N: np.ndarray, most: int) -> np.ndarray:
    return np.round(np.clip(values_N, -most, most))
