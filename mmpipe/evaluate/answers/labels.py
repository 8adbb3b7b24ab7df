"""Which labels a clip has, as a probability of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.multilabel import absent_labels, multilabel, one_label
from mmpipe.evaluate.measures.statistic import Statistic

THRESHOLD = 0.5  # a label is given from this probability on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelAnswers(Answers):
    """The true labels of each clip, and the probability of each label."""

    truth_NK: np.ndarray  # bool
    probabilities_NK: np.ndarray  # float64 in [0, 1]

    goal: ClassVar[Goal] = Goal.MULTILABEL
    measure: ClassVar[str] = "F1 of a clip's labels"
    constant_name: ClassVar[str] = "the most frequent labels"
    columns: ClassVar[Mapping[str, str]] = {"truth_NK": "labels", "probabilities_NK": "probabilities"}

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        object.__setattr__(self, "truth_NK", np.asarray(self.truth_NK, dtype=bool))
        object.__setattr__(self, "probabilities_NK", np.asarray(self.probabilities_NK, dtype=np.float64))
        shape = (len(self.keys), len(self.classes))
        if self.truth_NK.shape != shape or self.probabilities_NK.shape != shape:
            raise ValueError(
                f"labels and probabilities must be {shape}, got {self.truth_NK.shape}, {self.probabilities_NK.shape}"
            )
        self.require_rows()
        if not ((self.probabilities_NK >= 0) & (self.probabilities_NK <= 1)).all():
            raise ValueError("probabilities must be in [0, 1]: apply a sigmoid")

    @property
    def given_NK(self) -> np.ndarray:
        """Return which labels are given."""
        return self.probabilities_NK >= THRESHOLD

    @property
    def worth_N(self) -> np.ndarray:
        """Return the F1 of the labels of each clip; 1 where it has none and is given none."""
        return _clip_f1(self.truth_NK, self.given_NK)

    @property
    def truth_N(self) -> np.ndarray:
        """Return the true labels."""
        return self.truth_NK

    def constant(self) -> Self:
        """Return the answers of one who gives every clip the same labels: so many of the most frequent as pay."""
        order_K = np.argsort(-self.truth_NK.sum(axis=0), kind="stable")
        sets = [np.isin(np.arange(len(order_K)), order_K[:size]) for size in range(len(order_K) + 1)]
        best_K = max(sets, key=lambda given_K: _clip_f1(self.truth_NK, given_K[None]).mean())
        return replace(self, probabilities_NK=np.tile(best_K.astype(float), (len(self.keys), 1)))

    def with_truth_of(self, other: Self) -> Self:
        """Return these probabilities beside the labels of others."""
        return replace(self, truth_NK=other.truth_NK)

    def absent(self) -> tuple[str, ...]:
        """Return the labels that no clip here has."""
        return absent_labels(self.truth_NK, self.classes)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return exact matches, Hamming loss, averages of F1, and areas under curves."""
        return multilabel(self.truth_NK, self.probabilities_NK, THRESHOLD)

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return precision, recall, F1 and areas of each label."""
        return {
            name: one_label(self.truth_NK[:, k], self.probabilities_NK[:, k], THRESHOLD)
            for k, name in enumerate(self.classes)
        }


def _clip_f1(truth_NK: np.ndarray, given_NK: np.ndarray) -> np.ndarray:
    hits_N = (truth_NK & given_NK).sum(axis=1)
    both_N = truth_NK.sum(axis=1) + given_NK.sum(axis=1)
    return np.where(both_N > 0, 2.0 * hits_N / np.maximum(both_N, 1), 1.0)
