"""Which tag every word of a clip has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.statistic import Statistic, linear_ratio
from mmpipe.evaluate.measures.tagging import entity_tally, has_entities, per_tag, tagging


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TagAnswers(Answers):
    """The true tag of each word, and the one that was said; of words behind the end of a clip -1."""

    truth_NT: np.ndarray  # int64, index into `classes`
    said_NT: np.ndarray  # int64

    goal: ClassVar[Goal] = Goal.TAG
    measure: ClassVar[str] = "micro F1"  # of entities; where tags spell none of words, which is how many are right
    constant_name: ClassVar[str] = "one tag for every word"
    columns: ClassVar[Mapping[str, str]] = {"truth_NT": "tags", "said_NT": "said"}

    def __post_init__(self) -> None:
        """Bring the arrays to their types and one width, and refuse what cannot be measured."""
        arrays = {name: np.asarray(getattr(self, name), dtype=np.int64) for name in self.columns}
        if wrong := {name: array.shape for name, array in arrays.items() if array.ndim != 2}:
            raise ValueError(f"tags must be (clips, words), got {wrong}")
        longest = max(array.shape[1] for array in arrays.values())
        for name, array in arrays.items():
            padded = np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=-1)
            object.__setattr__(self, name, padded)
        self.require_rows()
        for array_NT in (self.truth_NT, self.said_NT):
            if array_NT.size and not (array_NT.min() >= -1 and array_NT.max() < len(self.classes)):
                raise ValueError(f"tags must be -1..{len(self.classes) - 1}, got {array_NT.min()}..{array_NT.max()}")
        if not (self.truth_NT >= 0).any():
            raise ValueError(f"none of {len(self.keys)} clips has a word with a true tag: there is nothing to measure")

    @property
    def worth_N(self) -> np.ndarray:
        """Return the linear form of the micro F1 of entities, or of the share of right words where there are none."""
        if not has_entities(self.classes):
            is_word_NT = self.truth_NT >= 0
            return linear_ratio(((self.truth_NT == self.said_NT) & is_word_NT).sum(axis=1), is_word_NT.sum(axis=1))
        tally = entity_tally(self.truth_NT, self.said_NT, self.classes)
        return linear_ratio(2 * tally.right_NC.sum(axis=1), (tally.true_NC + tally.said_NC).sum(axis=1))

    @property
    def truth_N(self) -> np.ndarray:
        """Return the true tags."""
        return self.truth_NT

    def constant(self) -> Self:
        """Return the answers of one who gives every word the same tag: of equally good ones the most frequent."""
        counts = np.bincount(self.truth_NT[self.truth_NT >= 0], minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        tried = order if has_entities(self.classes) else order[:1]  # of single words the most frequent is the best
        tries = [replace(self, said_NT=np.full_like(self.truth_NT, tag)) for tag in tried]
        return max(tries, key=lambda one: one.worth)

    def with_truth_of(self, other: Self) -> Self:
        """Return these tags beside the truth of others."""
        return replace(self, truth_NT=other.truth_NT)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return precision, recall and F1 of entities and words on average, and the shares that are right."""
        return tagging(self.truth_NT, self.said_NT, self.classes)

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return precision, recall, F1 and support of each type of entity and of each tag."""
        return per_tag(self.truth_NT, self.said_NT, self.classes)
