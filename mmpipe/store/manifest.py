"""The only truth of what is in a partition of a dataset: numbered, immutable, written last.

A manifest holds no clock time and no run id, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json

FORMAT = 1  # of a manifest, whatever the layout around it
ROLES = ("data", "index")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_=-]*\.(tar|parquet)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One immutable file: what it is for, what the view calls it, and what its bytes are."""

    role: str  # "data" or "index"
    name: str  # in the view: "000000.tar"
    nbytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what could lead a path out of the store, or what other tools choke on in a view."""
        if self.role not in ROLES or not _NAME.fullmatch(self.name) or not _SHA256.fullmatch(self.sha256):
            raise StoreError(f"not an entry for a file of a shard: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatistics:
    """What the values of a shard look like; norms are L2 over each clip's value."""

    num_nan: int = 0
    num_zero: int = 0  # values that are all zero
    num_constant: int = 0  # values with no variance
    norm_mean: float = 0.0
    norm_min: float = 0.0
    norm_max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """An ordered run of clips of one partition. For a feature: spine = samples + absent + quarantined."""

    number: int
    files: tuple[FileEntry, ...]  # () where no clip of the shard has a value
    samples: int
    inputs: str  # digest of what the shard was made from: stale when it differs
    spine: int  # clips of the spine in this shard
    absent: int = 0  # clips whose asset has no such modality, or that were superseded before it was made
    quarantined: int = 0
    statistics: ShardStatistics = field(default_factory=ShardStatistics)

    def __post_init__(self) -> None:
        """Hold the accounting invariant."""
        if self.spine != self.samples + self.absent + self.quarantined:
            raise StoreError(
                f"shard {self.number}: {self.spine} clips of the spine are not {self.samples} written "
                f"+ {self.absent} absent + {self.quarantined} quarantined"
            )

    def file(self, role: str) -> FileEntry | None:
        """Return the shard's file in a role."""
        return next((entry for entry in self.files if entry.role == role), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one revision of one partition of a dataset consists of."""

    corpus: str
    dataset: str
    partition: str
    revision: int  # 1, 2, ... without gaps
    parent: str  # sha256 of the previous manifest's bytes; "" for the first
    schema: str  # digest of the dataset's schema
    fingerprint: str  # of the extractor; "" for clips, assets, quarantine
    shards: tuple[ShardEntry, ...]  # by number
    totals: Mapping[str, int] = field(default_factory=dict)  # the ingest's accounting
    format: int = FORMAT

    @property
    def samples(self) -> int:
        """Return how many clips have a value (or rows, for a table)."""
        return sum(shard.samples for shard in self.shards)

    def shard(self, number: int) -> ShardEntry | None:
        """Return a shard by its number."""
        return next((shard for shard in self.shards if shard.number == number), None)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; `checksum` is over the rest, since nothing names the digest of a head."""
        table = asdict(self)
        return canonical_json({**table, "checksum": _checksum(table)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "manifest") -> Manifest:
        """Read canonical JSON; raise StoreError on anything else, be it a single bit."""
        try:
            manifest = _read_manifest(json.loads(data))
        except (ValueError, KeyError, TypeError, StoreError) as error:
            raise StoreError(f"{where} is damaged: {error}. Run `mmpipe verify`.") from error
        if manifest.to_bytes() != data:
            raise StoreError(f"{where} is damaged: it is not what was written. Run `mmpipe verify`.")
        return manifest

    def digest(self) -> str:
        """Return the sha256 of the manifest's bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def shard_to_json(shard: ShardEntry) -> dict[str, Any]:
    """Return a shard entry as plain JSON values."""
    return asdict(shard)


def shard_from_json(table: dict[str, Any]) -> ShardEntry:
    """Read a shard entry; raise TypeError or KeyError on unknown or missing keys."""
    return ShardEntry(
        **{
            **table,
            "files": tuple(FileEntry(**entry) for entry in table["files"]),
            "statistics": ShardStatistics(**table["statistics"]),
        }
    )


def _checksum(table: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(table)).hexdigest()


def _read_manifest(table: dict[str, Any]) -> Manifest:
    del table["checksum"]
    shards = tuple(shard_from_json(shard) for shard in table["shards"])
    return Manifest(**{**table, "shards": shards})
