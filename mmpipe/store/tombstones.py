"""The tombstones: digests of what was forgotten and is never taken in again; no name, no bytes.

Equality is what counts: a file of the same bytes, and a stream of the same coded data in whatever file. The same sound
or picture in another encoding has other digests, and is not known again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import TOMBSTONES, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions
from mmpipe.types import digest_of

TOMBSTONE_ROWS = TableKind(
    name="tombstones", columns=(("kind", pl.String), ("digest", pl.String)), dictionary=("kind",)
)
ASSET, STREAM, FILE, NAME = "asset", "stream", "file", "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstones:
    """The partitions in which things were forgotten, by kind and digest."""

    partition_of: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def find(self, kind: str, digests: Iterable[str]) -> str | None:
        """Return the partition in which the first of these digests was forgotten."""
        return next((dt for digest in digests if (dt := self.partition_of.get((kind, digest)))), None)

    def has_all(self, kind: str, digests: Iterable[str]) -> bool:
        """Say whether there are digests and each was forgotten."""
        found = [(kind, digest) in self.partition_of for digest in digests]
        return bool(found) and all(found)


def write_tombstones(dataset: DatasetLayout, partition: str, rows: Iterable[tuple[str, str]]) -> Manifest:
    """Add (kind, digest) rows to those of a partition."""
    incoming = TOMBSTONE_ROWS.frame(sorted(set(rows)))
    return retry_lost_race(lambda: _commit_joined(dataset, partition, incoming))


def read_tombstones(layout: StoreLayout, corpus: str) -> Tombstones:
    """Return everything that was ever forgotten of a corpus."""
    rows = read_partitions(layout.dataset(corpus, TOMBSTONES), TOMBSTONE_ROWS, None)
    return Tombstones(partition_of={(kind, digest): dt for dt, kind, digest in rows.iter_rows()})


def name_digest(name: str) -> str:
    """Return what stands for the name under which something was forgotten."""
    return digest_of("forgotten name", name)


def _commit_joined(dataset: DatasetLayout, partition: str, incoming: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    there = read_manifest_table(dataset, TOMBSTONE_ROWS, head)
    frame = pl.concat([there, incoming]).unique().sort("kind", "digest")
    return commit_partition(
        dataset,
        partition,
        schema=TOMBSTONE_ROWS.digest,
        fingerprint="",
        shards={0: put_table(dataset, partition, TOMBSTONE_ROWS, 0, frame)},
        base_revision=head.revision if head else 0,
    )
