"""What all kinds of answers have in common: clips, groups, and one number that says how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.measures.statistic import Statistic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Row n of every array speaks of clip `keys[n]`: what is true of it, and what a model said.

    A group is what must not be split between train and test (a speaker, a recording): the unit of evidence.
    A kind of answers is a subclass in a file of its own, named in `registry.py`.
    """

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...] = ()  # names along an answer's axis: of classes, labels, quantities, tags, words

    goal: ClassVar[Goal]
    measure: ClassVar[str]  # what `worth_N` is of, as people call it; more is better
    constant_name: ClassVar[str]  # who says what `constant` does
    columns: ClassVar[Mapping[str, str]]  # the arrays by row -> what they are called in a file

    @property
    def worth_N(self) -> np.ndarray:
        """Return what each clip adds to the measure: its mean over all clips IS the measure.

        Of a measure that is no mean over clips (a ratio of sums, an area under a curve) it is the linear form: the
        measure plus each clip's influence on it, so that resampling clips gives the interval of the delta method.
        """
        raise NotImplementedError

    @property
    def truth_N(self) -> np.ndarray:
        """Return what is true of each clip."""
        raise NotImplementedError

    def constant(self) -> Self:
        """Return the answers of one who says of every clip the same: the best such answer on these very clips."""
        raise NotImplementedError

    def statistics(self) -> Mapping[str, Statistic]:
        """Return every measure of these answers, by name."""
        raise NotImplementedError

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return the measures of each class, label, quantity or tag alone; nothing where there are no such."""
        return {}

    def absent(self) -> tuple[str, ...]:
        """Return the classes or labels without a clip here: nothing can be said of them."""
        return ()

    @property
    def worth(self) -> float:
        """Return the measure."""
        return float(self.worth_N.mean())

    def take(self, rows: np.ndarray) -> Self:
        """Return some rows, in the order asked for."""
        return replace(
            self,
            keys=tuple(self.keys[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            **{name: getattr(self, name)[rows] for name in self.columns},
        )

    def aligned_to(self, keys: Sequence[str]) -> Self:
        """Return the rows of these clips, in their order."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        missing = [key for key in keys if key not in row_of]
        if missing:
            raise ValueError(f"{len(missing)} of {len(keys)} clips have no prediction, the first is {missing[0]}")
        return self.take(np.array([row_of[key] for key in keys], dtype=np.int64))

    def with_truth_of(self, other: Self) -> Self:
        """Return these answers, given the same clips, beside what others hold to be true."""
        raise NotImplementedError

    def require_rows(self) -> None:
        """Refuse what cannot be measured; every kind calls it when it is made."""
        num_clips = len(self.keys)
        if not num_clips:
            raise ValueError("nothing to measure: 0 predictions")
        sizes = {name: len(getattr(self, name)) for name in self.columns}
        if len(self.groups) != num_clips or set(sizes.values()) != {num_clips}:
            raise ValueError(f"{num_clips} keys, {len(self.groups)} groups, {sizes}: must agree")
        if len(set(self.keys)) != num_clips:
            raise ValueError(f"{num_clips - len(set(self.keys))} clip key(s) appear twice; every clip is judged once")
        if not all(self.groups):
            raise ValueError("a clip has no group; where clips have none of their own, give the asset's id")


_Answers = TypeVar("_Answers", bound=Answers)


def join(parts: Sequence[_Answers]) -> _Answers:
    """Return the answers of several folds as one, sorted by clip key."""
    if len({(type(part), part.classes) for part in parts}) != 1:
        raise ValueError(f"{len(parts)} parts with different classes cannot be joined")
    whole = replace(
        parts[0],
        keys=tuple(key for part in parts for key in part.keys),
        groups=tuple(group for part in parts for group in part.groups),
        **{name: _joined([getattr(part, name) for part in parts]) for name in parts[0].columns},  # type: ignore[arg-type]
    )
    return whole.take(np.array(sorted(range(len(whole.keys)), key=whole.keys.__getitem__), dtype=np.int64))


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Join by rows; of sequences of different lengths, where -1 is behind the end, the longest decides."""
    if arrays[0].ndim == 2 and len({array.shape[1] for array in arrays}) > 1:
        longest = max(array.shape[1] for array in arrays)
        arrays = [np.pad(a, ((0, 0), (0, longest - a.shape[1])), constant_values=-1) for a in arrays]
    return np.concatenate(arrays)
