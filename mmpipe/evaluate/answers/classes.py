"""Which class a clip is of, as probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.statistic import Statistic

SUM_TOLERANCE = 1e-3  # a float32 softmax over many classes drifts by less


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassAnswers(Answers):
    """The true class of each clip, and the probability of each class."""

    labels_N: np.ndarray  # int64, index into `classes`
    probabilities_NK: np.ndarray  # float64, rows sum to 1

    goal: ClassVar[Goal] = Goal.CLASSIFY
    measure: ClassVar[str] = "accuracy"
    constant_name: ClassVar[str] = "the most frequent class"
    columns: ClassVar[Mapping[str, str]] = {"labels_N": "label", "probabilities_NK": "probabilities"}

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        object.__setattr__(self, "labels_N", np.asarray(self.labels_N, dtype=np.int64))
        object.__setattr__(self, "probabilities_NK", np.asarray(self.probabilities_NK, dtype=np.float64))
        shape = (len(self.keys), len(self.classes))
        if not all(shape):
            raise ValueError(f"nothing to measure: {shape[0]} predictions over {shape[1]} classes")
        if self.probabilities_NK.shape != shape:
            raise ValueError(f"probabilities must be {shape} (clips, classes), got {self.probabilities_NK.shape}")
        self.require_rows()
        if self.labels_N.min() < 0 or self.labels_N.max() >= shape[1]:
            raise ValueError(f"labels must be 0..{shape[1] - 1}, got {self.labels_N.min()}..{self.labels_N.max()}")
        _require_distributions(self.probabilities_NK)

    @property
    def predicted_N(self) -> np.ndarray:
        """Return the most probable class of every clip; of equals, the first."""
        return self.probabilities_NK.argmax(axis=1)

    @property
    def correct_N(self) -> np.ndarray:
        """Return where the most probable class is the true one."""
        return self.predicted_N == self.labels_N

    @property
    def worth_N(self) -> np.ndarray:
        """Return 1 where the most probable class is the true one, else 0."""
        return self.correct_N.astype(float)

    @property
    def truth_N(self) -> np.ndarray:
        """Return the index of the true class."""
        return self.labels_N

    def constant(self) -> Self:
        """Return the answers of one who always names the most frequent class."""
        answer = np.bincount(self.labels_N, minlength=len(self.classes)).argmax()
        probabilities_NK = np.zeros_like(self.probabilities_NK)
        probabilities_NK[:, answer] = 1
        return replace(self, probabilities_NK=probabilities_NK)

    def with_truth_of(self, other: Self) -> Self:
        """Return these probabilities beside the labels of others."""
        return replace(self, labels_N=other.labels_N)

    def absent(self) -> tuple[str, ...]:
        """Return the classes that no clip here is of."""
        from mmpipe.evaluate.measures.classification import absent_classes

        return absent_classes(self)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return accuracy, averages of precision, recall and F1, areas under curves, calibration."""
        from mmpipe.evaluate.measures.classification import classification

        return classification(self)

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return precision, recall and F1 of each class."""
        from mmpipe.evaluate.measures.classification import per_class

        return per_class(self)


def _require_distributions(probabilities_NK: np.ndarray) -> None:
    if not np.isfinite(probabilities_NK).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(probabilities_NK))} probabilities are not finite numbers")
    drift = float(np.abs(probabilities_NK.sum(axis=1) - 1).max())
    if probabilities_NK.min() < 0 or drift > SUM_TOLERANCE:
        raise ValueError(f"rows must be probabilities that sum to 1; the worst is {drift:.3g} away. Apply a softmax.")
