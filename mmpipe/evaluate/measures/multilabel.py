"""Several labels per clip, each there or not, over the fixed list of the schema."""

from __future__ import annotations

import numpy as np

from mmpipe.evaluate.measures.separation import auprc, auroc
from mmpipe.evaluate.measures.statistic import Statistic, divided, mean_of, mean_over, ratio_of


def multilabel(truth_NK: np.ndarray, scores_NK: np.ndarray, threshold: float = 0.5) -> dict[str, Statistic]:
    """Return the measures of labels that are given where their score reaches the threshold.

    `macro` and the areas are means over the labels that some drawn clip has; `weighted` weighs labels by their clips;
    `samples_f1` is the mean over clips, 0 for a clip without any label on either side.
    """
    if truth_NK.shape != scores_NK.shape or truth_NK.ndim != 2 or not truth_NK.size:
        raise ValueError(f"truth {truth_NK.shape} and scores {scores_NK.shape} must be (clips, labels)")
    truth_NK = truth_NK.astype(bool)
    given_NK = scores_NK >= threshold
    labels = range(truth_NK.shape[1])
    hits_N, both_N = (truth_NK & given_NK).sum(axis=1), truth_NK.sum(axis=1) + given_NK.sum(axis=1)
    return {
        "exact_match": mean_of((truth_NK == given_NK).all(axis=1)),
        "hamming_loss": mean_of((truth_NK != given_NK).mean(axis=1)),
        "micro_f1": lambda weights_DN: np.nan_to_num(divided(2 * weights_DN @ hits_N, weights_DN @ both_N)),
        "macro_f1": mean_over([_label_f1(truth_NK[:, k], given_NK[:, k]) for k in labels]),
        "weighted_f1": _weighted_f1(truth_NK, given_NK),
        "samples_f1": mean_of(np.nan_to_num(divided(2.0 * hits_N, both_N))),
        "auroc": mean_over([auroc(scores_NK[:, k], truth_NK[:, k]) for k in labels]),
        "auprc": mean_over([auprc(scores_NK[:, k], truth_NK[:, k]) for k in labels]),
    }


def one_label(truth_N: np.ndarray, scores_N: np.ndarray, threshold: float = 0.5) -> dict[str, Statistic]:
    """Return precision, recall, F1 and areas of one label; what a draw has no clip for is not defined there."""
    truth_N, given_N = truth_N.astype(bool), scores_N >= threshold
    return {
        "precision": ratio_of(truth_N & given_N, given_N),
        "recall": ratio_of(truth_N & given_N, truth_N),
        "f1": _label_f1(truth_N, given_N),
        "auroc": auroc(scores_N, truth_N),
        "auprc": auprc(scores_N, truth_N),
    }


def absent_labels(truth_NK: np.ndarray, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels of the schema that no clip here has."""
    return tuple(name for number, name in enumerate(labels) if not truth_NK[:, number].any())


def _label_f1(truth_N: np.ndarray, given_N: np.ndarray) -> Statistic:
    """Return one label's F1; not defined where no drawn clip has it."""
    hits_N, both_N = (truth_N & given_N).astype(float), truth_N + given_N * 1.0

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        score_D = divided(2 * weights_DN @ hits_N, weights_DN @ both_N)
        return np.where(weights_DN @ truth_N.astype(float) > 0, score_D, np.nan)

    return measure


def _weighted_f1(truth_NK: np.ndarray, given_NK: np.ndarray) -> Statistic:
    scores = [_label_f1(truth_NK[:, k], given_NK[:, k]) for k in range(truth_NK.shape[1])]

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        support_DK = weights_DN @ truth_NK.astype(float)
        score_DK = np.nan_to_num(np.stack([score(weights_DN) for score in scores], axis=1))
        return divided((support_DK * score_DK).sum(axis=1), support_DK.sum(axis=1))

    return measure
