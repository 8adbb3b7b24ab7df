"""Published models: their versions, what each is worth, and who moved which alias when."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmpipe.app.values.paging import Paging


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCard:
    """A version in a list."""

    label: str
    status: str
    aliases: tuple[str, ...]
    measure: str = ""
    worth: float | None = None
    low: float | None = None
    high: float | None = None
    judged: str = ""  # what was judged: a fusion, or one feature
    sentence: str = ""
    tainted: str = ""
    fault: str = ""  # why it cannot be read, and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One line of the log of moves."""

    revision: int
    when: str  # UTC; "" where nobody knows
    action: str
    version: str
    who: str
    why: str
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's versions, newest first, and its moves, newest first."""

    name: str
    aliases: dict[str, str]
    versions: tuple[VersionCard, ...]
    moves: tuple[AliasMove, ...]
    faults: tuple[str, ...] = ()  # why its aliases, or the log of their moves, cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """Every model."""

    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of the gate."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version: verdict, measures, and where it comes from."""

    model: str
    card: VersionCard
    digest: str
    checks: tuple[Check, ...]
    measures: dict[str, float] = field(default_factory=dict)  # of what was judged
    lineage: dict[str, str] = field(default_factory=dict)
    manifests: tuple[tuple[str, str, str], ...] = ()  # (dataset, partition, sha256)
    snapshot: str = ""  # that it was trained on
    num_raw_files: int = 0
    files: tuple[str, ...] = ()
    redacted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCard:
    """A frozen set of manifests."""

    digest: str
    corpus: str
    names: tuple[str, ...]
    partitions: int
    first: str
    last: str
    features: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotList:
    """A page of the snapshots that are kept."""

    snapshots: tuple[SnapshotCard, ...]
    paging: Paging


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPage:
    """One snapshot, with a page of what it pins."""

    card: SnapshotCard
    entries: tuple[tuple[str, str, int, str], ...]  # (dataset, partition, revision, sha256)
    paging: Paging
    reasons: dict[str, str] = field(default_factory=dict)  # why it was given each name, and by whom
