"""The datasets of a corpus: what they promise, and what each date of them holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmpipe.app.values.paging import Paging

DATES_PER_PAGE = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """A dataset in a few numbers."""

    name: str
    is_feature: bool
    shape: str  # "audio float32 [145]"; "" of a table
    partitions: int
    newest: str
    shards: int
    rows: int
    nbytes: int
    deprecated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetList:
    """Every dataset of a corpus."""

    corpus: str
    datasets: tuple[DatasetCard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a dataset's Parquet files."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the values of a date look like; norms are L2 over each clip's value."""

    num_nan: int
    num_zero: int
    num_constant: int
    norm_mean: float
    norm_min: float
    norm_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDate:
    """The head of one partition."""

    dt: str
    revision: int
    sha256: str  # of the manifest
    shards: int
    samples: int
    absent: int
    quarantined: int
    nbytes: int
    fingerprint: str
    statistics: Statistics | None = None  # of a feature with values


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset: its contract and a page of its dates, newest first."""

    corpus: str
    card: DatasetCard
    folder: str
    facts: dict[str, str]  # the contract, as `mmpipe schema` tells it
    columns: tuple[Column, ...]
    fingerprints: dict[str, int]  # partitions by fingerprint
    dates: tuple[DatasetDate, ...]
    paging: Paging
    rights: dict[str, str] = field(default_factory=dict)
