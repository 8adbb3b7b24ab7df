"""One door to both kinds of shard writers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

from mmpipe.errors import StoreError
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.objects import put_object
from mmpipe.store.schema import check_schema
from mmpipe.store.shard import RawValue, ShardSpec, StagedShard
from mmpipe.store.tarshard import TarShardWriter
from mmpipe.store.vectorshard import VectorShardWriter
from mmpipe.types import FeatureKind, FeatureValue


class ShardWriter(Protocol):
    """What both writers can do; leaving a `with` block by an exception removes what was staged."""

    def add(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, value: FeatureValue) -> None:
        """Append a value in the order of ordinals."""

    def add_raw(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, raw: RawValue) -> None:
        """Append a value that another shard of the same fingerprint already holds."""

    def close(self) -> StagedShard:
        """Finish the files."""

    def discard(self) -> None:
        """Give up the shard."""

    def __enter__(self) -> Self:
        """Return the writer."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Remove what was staged where the work failed."""


def open_shard_writer(spec: ShardSpec, staging: Path) -> ShardWriter:
    """Return the writer for a feature's kind of values; `staging` is an existing folder of its own."""
    check_schema(spec.schema)
    if spec.schema.kind is FeatureKind.SEQUENCE:
        return TarShardWriter(spec, staging)
    return VectorShardWriter(spec, staging)


def put_shard(
    dataset: DatasetLayout,
    spec: ShardSpec,
    staged: StagedShard,
    *,
    inputs: str,
    spine: int,
    absent: int,
    quarantined: int,
) -> ShardEntry:
    """Put a staged shard's files among the objects, and return the entry that a manifest can name."""
    for file in staged.files:
        found = put_object(dataset, file.path)
        if found != (file.entry.sha256, file.entry.nbytes):
            raise StoreError(f"{file.path} was read back as {found}, not as it was written. Check the disk, run again.")
    return ShardEntry(
        number=spec.number,
        files=tuple(file.entry for file in staged.files),
        samples=staged.samples,
        inputs=inputs,
        spine=spine,
        absent=absent,
        quarantined=quarantined,
        statistics=staged.statistics,
    )
