"""The first page: every corpus and model at a glance."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmpipe.app.values.matrix import Freshness
from mmpipe.app.values.runs import StageRuns


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCard:
    """A corpus in a few numbers."""

    name: str
    clips: int
    dates: int
    newest: str  # "" before the first ingest
    features: int
    nbytes: int
    quarantined: int
    states: dict[str, int] = field(default_factory=dict)  # cells of dates x features by state
    late: tuple[Freshness, ...] = ()
    at_work: str = ""  # who is writing to it now
    fault: str = ""  # why it could not be read whole, and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model in a few words."""

    name: str
    versions: int
    newest: str
    status: str  # of the newest
    aliases: dict[str, str] = field(default_factory=dict)  # alias -> version; those that point somewhere
    fault: str = ""  # why its aliases cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All there is in a store."""

    store: str
    layout_version: int = 0
    corpora: tuple[CorpusCard, ...] = ()
    models: tuple[ModelCard, ...] = ()
    last_runs: tuple[StageRuns, ...] = ()  # newest first
    notice: str = ""  # why there is nothing to see, and what to do
