"""The words or characters that a network can write, and texts as their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mmpipe.config.generating import Unit
from mmpipe.errors import ConfigError

# The first token ends a text, and says what the others are.
ENDS = {Unit.WORD: "<end>", Unit.CHARACTER: "<end of characters>"}
PADDING = -1  # behind the end of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Number k stands for `tokens[k]`; the first ends a text."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what does not end, or says a thing twice."""
        ends = [*ENDS.values()]
        if len(self.tokens) < 2 or self.tokens[0] not in ends or len(set(self.tokens)) != len(self.tokens):
            raise ConfigError(f"a vocabulary is one of {ends}, then tokens, each once, got {list(self.tokens[:5])}")

    @property
    def unit(self) -> Unit:
        """Return what its tokens are."""
        return next(unit for unit, end in ENDS.items() if end == self.tokens[0])

    @classmethod
    def of(cls, texts: Iterable[str], unit: Unit) -> Self:
        """Return all that some texts are made of, sorted: the order of the texts never matters."""
        found = {token for text in texts for token in split_text(text, unit)}
        end = ENDS[unit]
        if end in found:
            raise ConfigError(
                f"a text has the word {end!r}, which ends texts here. Write it differently in the labels."
            )
        return cls(tokens=(end, *sorted(found)))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the numbers of texts, int64 [N, T], each with its end; T is the longest one's."""
        number_of = {token: number for number, token in enumerate(self.tokens)}
        rows = [[number_of[token] for token in split_text(text, self.unit)] + [0] for text in texts]
        return padded_ids(rows)

    def decode(self, ids_NT: np.ndarray) -> tuple[str, ...]:
        """Return the texts of numbers: what is before the end, or all where there is none."""
        between = " " if self.unit is Unit.WORD else ""
        return tuple(between.join(self.tokens[number] for number in row) for row in rows_before_end(ids_NT, 0))


def split_text(text: str, unit: Unit) -> list[str]:
    """Return the words of a text, or its characters."""
    words = text.split()
    return words if unit is Unit.WORD else list(" ".join(words))


def padded_ids(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return rows of numbers side by side, int64 [N, T], with -1 behind each."""
    ids_NT = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.int64)
    for number, row in enumerate(rows):
        ids_NT[number, : len(row)] = row
    return ids_NT


def rows_before_end(ids_NT: np.ndarray, end: int) -> list[list[int]]:
    """Return every row up to its end, without it and without padding."""
    rows = []
    for row in ids_NT.tolist():
        kept = row[: row.index(end)] if end in row else row
        rows.append([number for number in kept if number != PADDING])
    return rows
