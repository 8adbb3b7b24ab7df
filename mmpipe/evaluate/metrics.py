"""The measured worth of predictions, as plain numbers.

scikit-learn is imported where it is used: it costs most of a second, and a plan or a status measures nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmpipe.evaluate.answers.classes import ClassAnswers

CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = 1e-12  # a float32 softmax underflows to 0, whose logarithm would outweigh everything else


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """One class against all others; a quotient without a denominator is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageMetrics:
    """Precision, recall and F1 over all classes."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Everything measured on one set of predictions.

    `macro` is the plain mean over the classes that occur in this evaluation: one that has no clip here has no recall
    to speak of. `micro` pools all decisions, `weighted` weighs classes by support.
    """

    num_clips: int
    num_groups: int
    accuracy: float
    micro: AverageMetrics
    macro: AverageMetrics
    weighted: AverageMetrics
    calibration_error: float  # expected, over 15 bins of equal width
    negative_log_likelihood: float  # nats per clip
    brier: float  # sum over classes of squared error, mean over clips: 0 is perfect, 2 the worst
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true][predicted]

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return asdict(self)


def measure(predictions: ClassAnswers) -> Metrics:
    """Measure predictions over the fixed list of their classes, also those that do not occur."""
    from sklearn.metrics import confusion_matrix

    labels_N, predicted_N = predictions.labels_N, predictions.predicted_N
    every_class = np.arange(len(predictions.classes))
    present = np.unique(labels_N)
    return Metrics(
        num_clips=len(predictions.keys),
        num_groups=len(set(predictions.groups)),
        accuracy=float(predictions.correct_N.mean()),
        micro=_average(labels_N, predicted_N, every_class, "micro"),
        macro=_average(labels_N, predicted_N, present, "macro"),
        weighted=_average(labels_N, predicted_N, every_class, "weighted"),
        calibration_error=calibration_error(predictions),
        negative_log_likelihood=negative_log_likelihood(predictions),
        brier=brier(predictions),
        per_class=_per_class(predictions, every_class),
        confusion=tuple(
            tuple(row) for row in confusion_matrix(labels_N, predicted_N, labels=every_class).astype(int).tolist()
        ),
    )


def calibration_error(predictions: ClassAnswers, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean gap between confidence and accuracy over bins `(i/n, (i+1)/n]`, weighted by their clips."""
    confidence_N = predictions.probabilities_NK.max(axis=1)
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
    gap_N = confidence_N - predictions.correct_N
    return float(np.abs(np.bincount(bin_N, weights=gap_N, minlength=bins)).sum() / len(gap_N))


def negative_log_likelihood(predictions: ClassAnswers) -> float:
    """Return the mean negative logarithm of the true class's probability."""
    true_N = predictions.probabilities_NK[np.arange(len(predictions.labels_N)), predictions.labels_N]
    return float(-np.log(np.maximum(true_N, SMALLEST_PROBABILITY)).mean())


def brier(predictions: ClassAnswers) -> float:
    """Return the mean over clips of the squared distance between the probabilities and the truth (Brier 1950)."""
    truth_NK = np.eye(len(predictions.classes))[predictions.labels_N]
    return float(((predictions.probabilities_NK - truth_NK) ** 2).sum(axis=1).mean())


def _average(labels_N: np.ndarray, predicted_N: np.ndarray, classes: np.ndarray, kind: str) -> AverageMetrics:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels_N, predicted_N, labels=classes, average=kind, zero_division=0
    )
    return AverageMetrics(precision=float(precision), recall=float(recall), f1=float(f1))


def _per_class(predictions: ClassAnswers, classes: np.ndarray) -> tuple[ClassMetrics, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        predictions.labels_N, predictions.predicted_N, labels=classes, zero_division=0
    )
    return tuple(
        ClassMetrics(label=label, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for label, p, r, f, n in zip(predictions.classes, *columns, strict=True)
    )
