"""A stage of a night as others see it: what it is about, what it read and made, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """What a night and its keepers consist of."""

    NIGHT = "night"
    BACKFILL = "backfill"
    INGEST = "ingest"
    EXTRACT = "extract"
    COMMIT = "commit"
    TRAIN = "train"
    EVALUATE = "evaluate"
    RELEASE = "release"
    REPORT = "report"
    VERIFY = "verify"
    GC = "gc"


class Ending(StrEnum):
    """How a stage ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"  # it was stopped from outside, or others are at it: nothing is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One dataset, or one partition of it, that a stage read or made."""

    namespace: str  # of the place: "file", "s3://bucket"
    name: str  # unique there: an absolute path, a prefix
    partition: str = ""
    version: str = ""  # that was read or made: a digest
    rows: int | None = None
    nbytes: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # name -> type
    counts: Mapping[str, int] = field(default_factory=dict)  # what became of rows that are not there: "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterRun:
    """The run of an orchestrator that stages belong to, as that names it."""

    run_id: str  # a UUID
    job: str  # what it is a run of: "nightly"
    root: OuterRun | None = None  # the run that began it all; None: this one

    @property
    def top(self) -> OuterRun:
        """Return the run that began it all."""
        return self.root or self


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One run of a stage, from its start."""

    run_id: str  # a UUID
    stage: Stage
    started: datetime  # UTC
    corpus: str = ""
    model: str = ""
    dates: tuple[str, ...] = ()
    parent: StageRun | None = None
    outer: OuterRun | None = None

    @property
    def subject(self) -> str:
        """Return what the stage is about: a model, else a corpus, else the whole store."""
        return self.model or self.corpus or "store"

    @property
    def root(self) -> StageRun:
        """Return the outermost stage around this one."""
        return self.parent.root if self.parent else self


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnd:
    """What a run of a stage came to."""

    ending: Ending
    ended: datetime  # UTC
    seconds: float
    read: tuple[Table, ...] = ()
    made: tuple[Table, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str = ""  # class of the error
    message: str = ""


class Listener(Protocol):
    """Whoever hears of stages. What it raises is logged once, and costs the stage nothing."""

    @property
    def wants_tables(self) -> bool:
        """Say whether it looks at what was read and made; where nobody does, nobody finds it out."""

    def begin(self, run: StageRun) -> None:
        """Hear that a stage has started."""

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Hear how a stage ended."""


@dataclass(slots=True)
class Remembered:
    """The listener that keeps what it hears: a double for tests, and for whoever tries a stage out."""

    wants_tables: bool = True
    begun: list[StageRun] = field(default_factory=list)
    ended: list[tuple[StageRun, StageEnd]] = field(default_factory=list)

    def begin(self, run: StageRun) -> None:
        """Keep it."""
        self.begun.append(run)

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Keep it."""
        self.ended.append((run, end))
