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
_MOST_LOOKED_INTO = 100  # shards of a feature: of those beyond, the manifests tell how many clips had which fate
_SHARD = ("partition", "shard")


def show_coverage(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame, features: Sequence[str]
) -> CoverageShown | None:
    """Return the matrix of the features; None where there are none."""
    if not features or live.is_empty():
        return None
    by_asset = live["asset_id"].n_unique() <= MOST_COVERAGE_ROWS and live.height <= _MOST_CLIPS_BY_ASSET
    columns = [
        (_by_asset(layout, corpus, live, drops, name) if by_asset else _by_date(layout, corpus, live, drops, name))
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
    fallen = _fallen(drops, feature)
    made = _made_shards(layout, corpus, feature)
    written = _written(layout, corpus, live, feature)
    found: dict[str, CoverageCell] = {}
    for asset, key, partition, shard in live.select("asset_id", "key", "partition", "shard").iter_rows():
        fate = "written" if key in written else "quarantined" if key in fallen else "absent"
        fate = fate if key in written or (partition, shard) in made else "missing"
        found[asset] = found.get(asset, CoverageCell()) + CoverageCell(**{fate: 1})
    return found


def _written(layout: StoreLayout, corpus: str, clips: pl.DataFrame, feature: str) -> set[str]:
    """Return the keys of the clips that have a value; the index of each of their shards is read."""
    dates = set(clips["partition"])
    partitions = [date for date in layout.dataset(corpus, feature).partitions() if date in dates]
    if not partitions:
        return set()
    snapshot = take_snapshot(layout, corpus, (feature,), partitions)
    reader = AlignedReader(layout, snapshot, (feature,), spine=clips.filter(pl.col("partition").is_in(partitions)))
    return set(reader.spine["key"].filter(pl.Series(reader.lengths(feature) > 0)))


def _fallen(drops: pl.DataFrame, feature: str) -> set[str]:
    return set(drops.filter((pl.col("feature") == feature) & ~pl.col("kept"))["clip_key"])


def _made_shards(layout: StoreLayout, corpus: str, feature: str) -> set[tuple[str, int]]:
    heads = read_heads(layout.dataset(corpus, feature)).filter(pl.col("shard").is_not_null())
    return set(heads.select("partition", "shard").iter_rows())


def _by_date(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame, feature: str
) -> Mapping[str, CoverageCell]:
    """Return the cells of the dates, shard by shard: what was superseded since is still in the manifests of a shard."""
    heads = read_heads(layout.dataset(corpus, feature)).filter(pl.col("shard").is_not_null())
    tallies = heads.select(*_SHARD, "samples", "absent", "quarantined").rows()
    made = {
        (partition, shard): CoverageCell(written=written, absent=absent, quarantined=quarantined)
        for partition, shard, written, absent, quarantined in tallies
    }
    wanted = {(partition, shard): clips for partition, shard, clips in live.group_by(_SHARD).len().rows()}
    thinned = sorted(place for place, clips in wanted.items() if place in made and made[place].clips > clips)
    seen = _look_into(layout, corpus, live, drops, feature, thinned[:_MOST_LOOKED_INTO])
    cells: dict[str, CoverageCell] = {}
    for place, clips in wanted.items():
        cell = seen.get(place) or _share_out(made.get(place, CoverageCell()), clips)
        cells[place[0]] = cells.get(place[0], CoverageCell()) + cell
    return cells


def _look_into(
    layout: StoreLayout,
    corpus: str,
    live: pl.DataFrame,
    drops: pl.DataFrame,
    feature: str,
    places: Sequence[tuple[str, int]],
) -> dict[tuple[str, int], CoverageCell]:
    """Return what became of the live clips of some shards, which were made with others that are superseded now."""
    if not places:
        return {}
    chosen = pl.DataFrame(places, schema={name: live.schema[name] for name in _SHARD}, orient="row")
    clips = live.join(chosen, on=_SHARD, how="semi")
    written = _written(layout, corpus, clips, feature)
    fallen = _fallen(drops, feature)
    found: dict[tuple[str, int], CoverageCell] = {}
    for key, partition, shard in clips.select("key", *_SHARD).iter_rows():
        fate = "written" if key in written else "quarantined" if key in fallen else "absent"
        found[partition, shard] = found.get((partition, shard), CoverageCell()) + CoverageCell(**{fate: 1})
    return found


def _share_out(made: CoverageCell, clips: int) -> CoverageCell:
    """Return what a shard was made into, as the fates of the clips that are live: they sum to the clips."""
    written = min(made.written, clips)
    quarantined = min(made.quarantined, clips - written)
    absent = min(made.absent, clips - written - quarantined)
    missing = clips - written - quarantined - absent
    return CoverageCell(written=written, quarantined=quarantined, absent=absent, missing=missing)
