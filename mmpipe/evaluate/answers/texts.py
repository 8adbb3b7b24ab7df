"""Which text belongs to a clip, as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.statistic import Statistic
from mmpipe.evaluate.measures.transcription import Edits, transcription

_TRIED = 64  # of the most frequent texts, for the best constant answer
_COMPARED = 1 << 16  # ... and fewer where clips are many


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextAnswers(Answers):
    """The true text of each clip, and the one that was written; without its end."""

    texts_N: np.ndarray  # of str
    written_N: np.ndarray

    goal: ClassVar[Goal] = Goal.GENERATE
    measure: ClassVar[str] = "word accuracy"  # 1 - word error rate: below 0 where more is wrong than was said
    constant_name: ClassVar[str] = "the best text for all clips"
    columns: ClassVar[Mapping[str, str]] = {"texts_N": "text", "written_N": "written"}

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        for name in self.columns:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=object))
        self.require_rows()
        if not any(text.split() for text in self.texts_N):
            raise ValueError(f"none of {len(self.keys)} true texts has a word: there is nothing to measure by")

    @property
    def worth_N(self) -> np.ndarray:
        """Return word accuracy as the linear form of a ratio of sums: A / B + (a_n - A / B b_n) / mean b."""
        words = Edits.of_words(self.texts_N.tolist(), self.written_N.tolist())
        right_N = words.length_N - words.errors_N
        worth = right_N.sum() / words.length_N.sum()
        return np.asarray(worth + (right_N - worth * words.length_N) / words.length_N.mean())

    @property
    def truth_N(self) -> np.ndarray:
        """Return the true texts."""
        return self.texts_N

    def constant(self) -> Self:
        """Return the answers of one who always writes the same: the most frequent text or none, whichever does best.

        The 64 most frequent are tried, of equally frequent ones the first by alphabet; of equally good ones the first
        is taken.
        """
        counts = Counter(self.texts_N.tolist())
        num_tried = max(1, min(_TRIED, _COMPARED // len(self.keys)))
        frequent = sorted(counts, key=lambda text: (-counts[text], text))[:num_tried]
        tries = [replace(self, written_N=np.full(len(self.keys), text, dtype=object)) for text in ("", *frequent)]
        return max(tries, key=lambda one: one.worth)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return word accuracy, error rates of words and characters, and the share of texts without an error."""
        return transcription(self.texts_N.tolist(), self.written_N.tolist())
