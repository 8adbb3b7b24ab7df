"""The signals: one row per clip that was looked at, kept or filtered: how it looks and sounds, in plain Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import SIGNALS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.signalscard import MEANING, write_signals_card
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions

_PLACE: tuple[tuple[str, type[pl.DataType]], ...] = (
    ("key", pl.String),
    ("asset_id", pl.String),
    ("start_ns", pl.Int64),
    ("end_ns", pl.Int64),
    ("settings", pl.String),
)
_INTEGERS = ("num_shots", "text_characters", "text_words")
_FLAGS = ("has_video", "has_audio", "has_image", "has_text")
_SAID: Mapping[str, type[pl.DataType]] = (
    dict.fromkeys(_INTEGERS, pl.Int64) | dict.fromkeys(_FLAGS, pl.Boolean) | {"language": pl.String}
)
_PLACES = tuple(name for name, _ in _PLACE)
SIGNAL_COLUMNS: Mapping[str, type[pl.DataType]] = {
    name: _SAID.get(name, pl.Float64) for name in MEANING if name not in _PLACES
}
CLIP_SIGNALS = TableKind(
    name="signals",
    columns=(*_PLACE, *SIGNAL_COLUMNS.items()),
    dictionary=("asset_id", "settings", "language"),
    nullable=tuple(name for name in SIGNAL_COLUMNS if name not in (*_FLAGS, "duration_s")),
)
_SHARD = 0  # a partition's signals are one file


def write_signals(dataset: DatasetLayout, partition: str, rows: pl.DataFrame) -> Manifest:
    """Commit the signals of clips beside those that the partition has; a clip that comes again is measured anew."""
    return retry_lost_race(lambda: _commit_joined(dataset, partition, rows.select(CLIP_SIGNALS.names)))


def read_signals(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per clip, in (partition, asset, time) order; the first column is the partition."""
    return read_partitions(layout.dataset(corpus, SIGNALS), CLIP_SIGNALS, partitions)


def _commit_joined(dataset: DatasetLayout, partition: str, rows: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, CLIP_SIGNALS, head)
    kept = current.join(rows.select("key"), on="key", how="anti", maintain_order="left")
    frame = pl.concat([kept, rows], rechunk=True).sort("asset_id", "start_ns", "end_ns", "key")
    if head and head.schema == CLIP_SIGNALS.digest and frame.equals(current):
        return head
    return commit_partition(
        dataset,
        partition,
        schema=CLIP_SIGNALS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, CLIP_SIGNALS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
        then=lambda: write_signals_card(dataset),
    )
