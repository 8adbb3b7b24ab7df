"""Count which clips have a value of which feature: by asset in a small corpus, by date in a large one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.report.coverage import MOST_COVERAGE_ROWS, CoverageCell, CoverageRow, CoverageShown, fold_rows
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

_MOST_CLIPS_BY_ASSET = 20_000


def show_coverage(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame, features: Sequence[str]
) -> CoverageShown | None:
    """Return the matrix of the features; None where there are none."""
    if not features or live.is_empty():
        return None
    by_asset = live["asset_id"].n_unique() <= MOST_COVERAGE_ROWS and live.height <= _MOST_CLIPS_BY_ASSET
    columns = [
        (_by_asset(layout, corpus, live, drops, name) if by_asset else _by_date(layout, corpus, live, name))
        for name in features
    ]
    names = _asset_names(live) if by_asset else {p: p for p in sorted(set(live["partition"]))}
    rows = [
        CoverageRow(name=said, note="", cells=tuple(column.get(key, CoverageCell()) for column in columns))
        for key, said in names.items()
    ]
    return CoverageShown(by="asset" if by_asset else "date", features=tuple(features), rows=fold_rows(rows))


def _asset_names(live: pl.DataFrame) -> dict[str, str]:
    ordered = live.sort("partition", "source_id").unique("asset_id", keep="first", maintain_order=True)
    return dict(ordered.select("asset_id", "source_id").iter_rows())


def _by_asset(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame, feature: str
) -> dict[str, CoverageCell]:
    partitions = [p for p in layout.dataset(corpus, feature).partitions() if p in set(live["partition"])]
    fallen = set(drops.filter((pl.col("feature") == feature) & ~pl.col("kept"))["clip_key"])
    made = _made_shards(layout, corpus, feature)
    written: set[str] = set()
    if partitions:
        snapshot = take_snapshot(layout, corpus, (feature,), partitions)
        reader = AlignedReader(layout, snapshot, (feature,), spine=live.filter(pl.col("partition").is_in(partitions)))
        written = set(reader.spine["key"].filter(pl.Series(reader.lengths(feature) > 0)))
    found: dict[str, CoverageCell] = {}
    for asset, key, partition, shard in live.select("asset_id", "key", "partition", "shard").iter_rows():
        fate = "written" if key in written else "quarantined" if key in fallen else "absent"
        fate = fate if key in written or (partition, shard) in made else "missing"
        found[asset] = found.get(asset, CoverageCell()) + CoverageCell(**{fate: 1})
    return found


def _made_shards(layout: StoreLayout, corpus: str, feature: str) -> set[tuple[str, int]]:
    heads = read_heads(layout.dataset(corpus, feature)).filter(pl.col("shard").is_not_null())
    return set(heads.select("partition", "shard").iter_rows())


def _by_date(layout: StoreLayout, corpus: str, live: pl.DataFrame, feature: str) -> Mapping[str, CoverageCell]:
    wanted = dict(live.group_by("partition").len().iter_rows())
    heads = read_heads(layout.dataset(corpus, feature)).filter(pl.col("shard").is_not_null())
    sums = heads.group_by("partition").agg(pl.col("samples", "absent", "quarantined").sum())
    made = {row["partition"]: row for row in sums.iter_rows(named=True)}
    cells = {}
    for partition, clips in wanted.items():
        row = made.get(partition, {"samples": 0, "absent": 0, "quarantined": 0})
        # Clips that were superseded since are still in the manifests, so that there may be more than are live.
        missing = max(clips - row["samples"] - row["absent"] - row["quarantined"], 0)
        cells[partition] = CoverageCell(
            written=row["samples"], absent=row["absent"], quarantined=row["quarantined"], missing=missing
        )
    return cells
