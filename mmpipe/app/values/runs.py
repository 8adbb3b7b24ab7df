"""What ran: stages with how they ended, the newest batches, and the reports that were written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRuns:
    """All runs of one stage of one corpus or model."""

    stage: str
    subject: str  # the corpus or the model
    is_model: bool
    completed: int
    failed: int
    aborted: int
    mean_s: float
    last_end: str  # UTC; "" never
    last_success: str

    @property
    def ended_well(self) -> bool:
        """Say whether the newest run completed."""
        return self.last_end == self.last_success


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeShards:
    """Shards of one feature of one date that recent batches made for one reason."""

    corpus: str
    dt: str
    feature: str
    shards: int
    clips: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report that can be opened."""

    name: str
    nbytes: int
    written: str  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What ran, and what it left to read."""

    stages: tuple[StageRuns, ...]  # newest first
    made: tuple[MadeShards, ...]
    reports: tuple[ReportFile, ...]  # newest first
    at_work: dict[str, str]  # who writes to which corpus now
