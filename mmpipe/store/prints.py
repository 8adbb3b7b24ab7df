"""The prints: one row per asset and stream that near twins are found by, and what was decided of the asset.

Also of what was dropped as a near twin: a decision stands, and nothing is decoded again to make it once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import PRINTS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions

STREAM_PRINTS = TableKind(
    name="prints",
    columns=(
        ("asset_id", pl.String),
        ("source_id", pl.String),
        ("role", pl.String),
        ("modality", pl.String),
        ("digest", pl.String),  # of the stream
        ("version", pl.String),  # of the way prints are made
        ("print", pl.Binary),  # little-endian words; empty where the stream cannot be compared
        ("heard", pl.Binary),  # of sound: a byte for every word, 0 where it is silent, over 1 where it is steady
        ("settings", pl.String),  # digest of the thresholds that decided
        ("verdict", pl.String),  # "" kept; near_duplicate: dropped; let_in: by hand; shared_*: with a note
        ("twin", pl.String),  # what stands for the asset that it is a twin of, by `twin_name`
        ("distance", pl.Float64),  # 0 for equal prints, at most 1
        ("group", pl.String),  # what never straddles a split with it
    ),
    dictionary=("asset_id", "source_id", "role", "modality", "version", "settings", "verdict", "twin", "group"),
)
_SHARD = 0  # a partition's prints are one file


def write_prints(dataset: DatasetLayout, partition: str, rows: pl.DataFrame) -> Manifest | None:
    """Commit rows beside those that the partition has; those of the same asset, or source, take their place."""
    return retry_lost_race(lambda: _commit_joined(dataset, partition, rows.select(STREAM_PRINTS.names)))


def read_prints(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per asset and stream; the first column is the partition."""
    return read_partitions(layout.dataset(corpus, PRINTS), STREAM_PRINTS, partitions)


def _commit_joined(dataset: DatasetLayout, partition: str, rows: pl.DataFrame) -> Manifest | None:
    head = read_head(dataset, partition)
    if head is None and rows.is_empty():
        return None
    current = read_manifest_table(dataset, STREAM_PRINTS, head)
    kept = current
    for column in ("asset_id", "source_id"):  # a source with new bytes is no twin of its old ones
        kept = kept.join(rows.select(column).unique(), on=column, how="anti", maintain_order="left")
    frame = pl.concat([kept, rows], rechunk=True).sort("asset_id", "role")
    if head and head.schema == STREAM_PRINTS.digest and frame.equals(current):
        return head
    return commit_partition(
        dataset,
        partition,
        schema=STREAM_PRINTS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, STREAM_PRINTS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )
