"""Find values that are computed already: same stream, same range, same fingerprint, whatever asset they were for."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mmpipe.steps.shard_work import ReusedValue
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.manifest import ShardEntry

_PLACE = ["stream", "start_ns", "end_ns"]


def find_reusable(
    layout: StoreLayout, corpus: str, feature: str, fingerprint: str, rows: pl.DataFrame, stream_column: str
) -> Iterator[ReusedValue]:
    """Yield for the clips of a shard where the feature's committed shards hold their value already."""
    wanted = rows.select("ordinal", pl.col(stream_column).alias("stream"), "start_ns", "end_ns").filter(
        pl.col("stream") != ""
    )
    dataset = layout.dataset(corpus, feature)
    for partition in dataset.partitions():
        head = read_head(dataset, partition)
        if head is None or head.fingerprint != fingerprint:
            continue
        for entry in head.shards:
            file = _index_file(entry)
            if wanted.is_empty() or file is None:
                continue
            held = pl.read_parquet(dataset.object(file), columns=_PLACE).with_row_index("row")
            matches = wanted.join(held, on=_PLACE, how="inner").unique("ordinal", keep="first", maintain_order=True)
            for match in matches.iter_rows(named=True):
                yield ReusedValue(
                    feature=feature,
                    ordinal=match["ordinal"],
                    partition=partition,
                    shard=entry.number,
                    row=match["row"],
                )
            wanted = wanted.join(matches, on="ordinal", how="anti")


def _index_file(entry: ShardEntry) -> str | None:
    """Return the object with a shard's keys: the index of a tar, the file itself of vectors."""
    file = entry.file("index") or entry.file("data")
    return file.sha256 if file else None
