"""One class of several: precision, recall and F1 per class and on average, separation, calibration.

The classes are those of the schema. A class without a clip has no recall to speak of: it is named, and left out of
averages over classes ("macro"); scores of a draw that has none of its clips are left out alike.
"""

from __future__ import annotations

import numpy as np

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.measures.calibration import calibration
from mmpipe.evaluate.measures.separation import auprc, auroc
from mmpipe.evaluate.measures.statistic import Statistic, divided, mean_of, mean_over

KINDS = ("precision", "recall", "f1")


def classification(predictions: ClassAnswers) -> dict[str, Statistic]:
    """Return the measures of a classifier over all classes."""
    counts = _Counts(predictions)
    return {
        "accuracy": mean_of(predictions.correct_N),
        **{f"macro_{kind}": _macro(counts, kind) for kind in KINDS},
        **{f"weighted_{kind}": _weighted(counts, kind) for kind in KINDS},
        **separation(predictions),
        **calibration(predictions),
    }


def separation(predictions: ClassAnswers) -> dict[str, Statistic]:
    """Return AUROC and AUPRC: of two classes of the second one, of more as the mean of each against the rest."""
    chosen = [1] if len(predictions.classes) == 2 else range(len(predictions.classes))
    columns = [(predictions.probabilities_NK[:, k], predictions.labels_N == k) for k in chosen]
    return {
        "auroc": mean_over([auroc(scores_N, true_N) for scores_N, true_N in columns]),
        "auprc": mean_over([auprc(scores_N, true_N) for scores_N, true_N in columns]),
    }


def per_class(predictions: ClassAnswers) -> dict[str, dict[str, Statistic]]:
    """Return precision, recall and F1 of each class; not defined where neither truth nor answer names it."""
    counts = _Counts(predictions)
    return {
        name: {kind: _class_score(counts, number, kind) for kind in KINDS}
        for number, name in enumerate(predictions.classes)
    }


def absent_classes(predictions: ClassAnswers) -> tuple[str, ...]:
    """Return the classes of the schema that no clip here has."""
    present = set(predictions.labels_N.tolist())
    return tuple(name for number, name in enumerate(predictions.classes) if number not in present)


class _Counts:
    """Clips per class under weights: of it, called it, and both. Counted once for all who ask with the same weights."""

    def __init__(self, predictions: ClassAnswers) -> None:
        one_KK = np.eye(len(predictions.classes))
        self._true_NK, self._called_NK = one_KK[predictions.labels_N], one_KK[predictions.predicted_N]
        self._weights_DN = np.zeros((0, 0))
        self._counted: tuple[np.ndarray, np.ndarray, np.ndarray] = (self._weights_DN,) * 3

    def of(self, weights_DN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the three counts, [D, K] each."""
        if self._weights_DN is not weights_DN:
            hits_NK = self._true_NK * self._called_NK
            self._counted = (weights_DN @ self._true_NK, weights_DN @ self._called_NK, weights_DN @ hits_NK)
            self._weights_DN = weights_DN
        return self._counted

    def scores(self, weights_DN: np.ndarray, kind: str, classes: slice = slice(None)) -> np.ndarray:
        """Return a score per class, [D, K]; a quotient over nothing is 0."""
        true_DK, called_DK, hits_DK = (counted_DK[:, classes] for counted_DK in self.of(weights_DN))
        below_DK = {"precision": called_DK, "recall": true_DK, "f1": (true_DK + called_DK) / 2}[kind]
        return np.nan_to_num(divided(hits_DK, below_DK))


def _class_score(counts: _Counts, number: int, kind: str) -> Statistic:
    def measure(weights_DN: np.ndarray) -> np.ndarray:
        true_DK, called_DK, _ = counts.of(weights_DN)
        is_seen_D = true_DK[:, number] + called_DK[:, number] > 0
        return np.where(is_seen_D, counts.scores(weights_DN, kind, slice(number, number + 1))[:, 0], np.nan)

    return measure


def _macro(counts: _Counts, kind: str) -> Statistic:
    """Return the mean over the classes that are among the clips drawn."""

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        is_there_DK = counts.of(weights_DN)[0] > 0
        return divided((counts.scores(weights_DN, kind) * is_there_DK).sum(axis=1), is_there_DK.sum(axis=1))

    return measure


def _weighted(counts: _Counts, kind: str) -> Statistic:
    """Return the mean over classes by their clips."""

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        true_DK = counts.of(weights_DN)[0]
        return divided((true_DK * counts.scores(weights_DN, kind)).sum(axis=1), true_DK.sum(axis=1))

    return measure
