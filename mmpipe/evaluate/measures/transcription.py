"""What was said against what was written: the edits that make one text the other.

A text is cut by white space into words, or into the characters of those words with one space between. Texts are
compared as they are: case and punctuation count. Of equally short ways, the one that is told takes, from the end of
both texts back: an equal or exchanged token, else one left out, else one put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, mean_of, ratio_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edits:
    """Row n speaks of text n: what makes the answer of the truth, and how long the truth is; int64 [N]."""

    substitutions_N: np.ndarray
    deletions_N: np.ndarray  # of the truth, which the answer lacks
    insertions_N: np.ndarray
    length_N: np.ndarray

    @classmethod
    def of_words(cls, truth: Sequence[str], answers: Sequence[str]) -> Self:
        """Count edits of words."""
        return cls._of(truth, answers, by_word=True)

    @classmethod
    def of_characters(cls, truth: Sequence[str], answers: Sequence[str]) -> Self:
        """Count edits of characters."""
        return cls._of(truth, answers, by_word=False)

    @property
    def errors_N(self) -> np.ndarray:
        """Return the edits of each text."""
        return self.substitutions_N + self.deletions_N + self.insertions_N

    @classmethod
    def _of(cls, truth: Sequence[str], answers: Sequence[str], *, by_word: bool) -> Self:
        rows = [_edits(said, written, by_word) for said, written in zip(truth, answers, strict=True)]
        substitutions_N, deletions_N, insertions_N, length_N = np.array(rows, dtype=np.int64).reshape(-1, 4).T
        return cls(
            substitutions_N=substitutions_N, deletions_N=deletions_N, insertions_N=insertions_N, length_N=length_N
        )


def transcription(truth: Sequence[str], answers: Sequence[str]) -> dict[str, Statistic]:
    """Return the error rates: edits of all clips over tokens of all true texts (above 1 where too much is written).

    `word_error_rate` is the sum of the rates of substitutions, deletions and insertions; `word_accuracy` is 1 less it;
    `exact` the share of texts that are right word by word.
    """
    words, characters = Edits.of_words(truth, answers), Edits.of_characters(truth, answers)
    return {
        "word_accuracy": ratio_of(words.length_N - words.errors_N, words.length_N),
        "word_error_rate": ratio_of(words.errors_N, words.length_N),
        "substitutions": ratio_of(words.substitutions_N, words.length_N),
        "deletions": ratio_of(words.deletions_N, words.length_N),
        "insertions": ratio_of(words.insertions_N, words.length_N),
        "character_error_rate": ratio_of(characters.errors_N, characters.length_N),
        "exact": mean_of((words.errors_N == 0).astype(float)),
    }


@lru_cache(maxsize=1 << 16)  # an answer is measured several times: its worth, its measures, its intervals
def _edits(said: str, written: str, by_word: bool) -> tuple[int, int, int, int]:
    """Return substitutions, deletions, insertions, and the length of the truth."""
    truth, answer = said.split(), written.split()
    if not by_word:
        truth, answer = list(" ".join(truth)), list(" ".join(answer))
    costs = _costs(truth, answer)
    left, right = len(truth), len(answer)
    substitutions = deletions = insertions = 0
    while left or right:
        here = costs[left, right]
        exchanged = left and right and truth[left - 1] != answer[right - 1]
        if left and right and here == costs[left - 1, right - 1] + exchanged:
            substitutions += exchanged
            left, right = left - 1, right - 1
        elif left and here == costs[left - 1, right] + 1:
            deletions, left = deletions + 1, left - 1
        else:
            insertions, right = insertions + 1, right - 1
    return int(substitutions), deletions, insertions, len(truth)


def _costs(truth: Sequence[str], answer: Sequence[str]) -> np.ndarray:
    """Return the fewest edits between every two beginnings, [R + 1, A + 1] (Wagner and Fischer 1974).

    The row of a beginning of the truth follows from the one before it: first without insertions, then with as many as
    pay, which is a running minimum along the row.
    """
    places_A = np.arange(len(answer) + 1)
    answer_A = np.array(answer, dtype=object)
    costs = np.empty((len(truth) + 1, len(answer) + 1), dtype=np.int64)
    costs[0] = places_A
    for number, token in enumerate(truth, 1):
        row = costs[number - 1] + 1
        row[1:] = np.minimum(row[1:], costs[number - 1, :-1] + (answer_A != token))
        costs[number] = np.minimum.accumulate(row - places_A) + places_A
    return costs
