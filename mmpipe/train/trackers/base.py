"""What a tracker is told of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mmpipe.train.checkpoint import EpochRecord

Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFit:
    """A fit as a tracker names it; the settings hold no place and no key of anything."""

    model: str
    checkpoint: str  # the folder's name under STORE/checkpoints
    name: str  # of the fit in it: `fits/concat/part-0-seed-0`
    settings: Mapping[str, Value]


class Tracker(Protocol):
    """Somebody who is told of a fit: first of the epochs that are done, then of each, then that it ended."""

    failures: tuple[type[Exception], ...]  # what it may raise: none of these stops a training

    def begin(self, history: Sequence[EpochRecord]) -> None:
        """Open the fit's record, new or where it was; after this it holds the history and nothing else."""

    def add(self, record: EpochRecord) -> None:
        """Add an epoch."""

    def end(self, *, finished: bool) -> None:
        """Close the record of a fit that has finished, or has failed."""
