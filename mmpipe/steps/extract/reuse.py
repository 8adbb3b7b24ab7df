"""Find values that are computed already: same stream, same range, same fingerprint, whatever asset they were for."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mmpipe.io import local_file
from mmpipe.steps.plan.shard_work import ReusedValue
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.objects import has_object

# Which clip of which work cuts which stream: what a caller asks for.
PLACE = {"work": pl.Int64, "ordinal": pl.Int64, "stream": pl.String, "start_ns": pl.Int64, "end_ns": pl.Int64}
_CUT = ["stream", "start_ns", "end_ns"]
_CLIP = ["work", "ordinal"]


def find_reusable(
    layout: StoreLayout, corpus: str, feature: str, fingerprint: str, wanted: pl.DataFrame
) -> Iterator[tuple[int, ReusedValue]]:
    """Yield (work, value) for the rows of `wanted`, as PLACE, that a committed shard holds; read each index once."""
    dataset = layout.dataset(corpus, feature)
    for partition in dataset.partitions() if wanted.height else ():
        head = read_head(dataset, partition)
        if head is None or head.fingerprint != fingerprint:
            continue
        for entry in head.shards:
            file = _index_file(entry)
            if wanted.is_empty() or file is None or not all(has_object(dataset, part) for part in entry.files):
                continue
            held = pl.read_parquet(local_file(dataset.object(file)), columns=_CUT).with_row_index("row")
            matches = wanted.join(held, on=_CUT, how="inner").unique(_CLIP, keep="first", maintain_order=True)
            for match in matches.iter_rows(named=True):
                yield (
                    match["work"],
                    ReusedValue(
                        feature=feature,
                        ordinal=match["ordinal"],
                        partition=partition,
                        shard=entry.number,
                        row=match["row"],
                    ),
                )
            wanted = wanted.join(matches, on=_CLIP, how="anti")


def _index_file(entry: ShardEntry) -> str | None:
    """Return the object with a shard's keys: the index of a tar, the file itself of vectors."""
    file = entry.file("index") or entry.file("data")
    return file.sha256 if file else None
