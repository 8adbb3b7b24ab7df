"""What is to be forgotten: found once, written down before anything changes, and so finished after any kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import polars as pl

from mmpipe.errors import StoreError
from mmpipe.io import StorePath, canonical_json, make_directory, remove_file, replace_bytes
from mmpipe.steps.plan.inputs import STREAM_COLUMNS
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.objects import has_object
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.rewrite import Traces, every_shard
from mmpipe.store.spine import SPINE, read_spine
from mmpipe.store.table import kind_of, read_shard_table
from mmpipe.types import digest_of

ROW_COLUMNS = ("partition", "shard", "ordinal", "key", "start_ns", "end_ns", *STREAM_COLUMNS.values())
_ROW_TYPES = {"shard": pl.Int32, "ordinal": pl.Int32, "start_ns": pl.Int64, "end_ns": pl.Int64}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOrder:
    """Everything that is known of what is forgotten; it lies in `_runs/` until it is done, and is then removed."""

    corpus: str
    name: str  # what was asked for
    reason: str
    partition: str  # where its tombstones go: the oldest in which it was
    asset_ids: tuple[str, ...]
    source_ids: tuple[str, ...]
    files: tuple[str, ...]
    keys: tuple[str, ...]  # of all its clips, of every revision
    streams: tuple[str, ...]  # digests that no other asset has
    shared: int  # streams that other assets have too: they stay with those
    file_digests: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]  # of the spine, in ROW_COLUMNS
    moved: Mapping[str, Mapping[str, int]]  # files by partition and what they counted as

    @property
    def traces(self) -> Traces:
        """Return by what its rows are known."""
        return Traces(
            asset_ids=frozenset(self.asset_ids),
            keys=frozenset(self.keys),
            source_ids=frozenset(self.source_ids),
            files=frozenset(self.files),
        )

    @property
    def subjects(self) -> tuple[str, ...]:
        """Return what stands for its assets where no name may be."""
        return tuple(digest_of("forgotten asset", asset)[:24] for asset in self.asset_ids)

    def spine_rows(self) -> pl.DataFrame:
        """Return its clips as the spine had them."""
        schema = {name: _ROW_TYPES.get(name, pl.String) for name in ROW_COLUMNS}
        return pl.DataFrame([list(row) for row in self.rows], schema=schema, orient="row")


def resolve_order(layout: StoreLayout, corpus: str, name: str, reason: str) -> ForgetOrder | None:
    """Find an asset, or all of a source with its twins under other names; None where the store has nothing of it."""
    spine, assets, drops = read_spine(layout, corpus), read_assets(layout, corpus), read_quarantine(layout, corpus)
    twins = twins_among(drops)
    ids = assets_named(name, spine, assets, twins)
    mine, others = assets.filter(pl.col("asset_id").is_in(ids)), assets.filter(~pl.col("asset_id").is_in(ids))
    twins = twins.filter(pl.col("asset_id").is_in(ids))
    sources = sorted({*mine["source_id"], *twins["source_id"], *([] if name in ids else [name])})
    loose = drops.filter((pl.col("asset_id") == "") & pl.col("source_id").is_in(sources) & (pl.col("file") != ""))
    if not ids and loose.is_empty():
        return None
    spine = spine.filter(pl.col("asset_id").is_in(ids))
    partitions = {*spine["partition"], *mine["partition"], *twins["partition"], *loose["partition"]}
    streams = set(mine["digest"])
    digests = {*mine["file_sha256"], *twins["file_sha256"], *loose["file_sha256"]}
    return ForgetOrder(
        corpus=corpus,
        name=name,
        reason=reason,
        partition=min(partitions),
        asset_ids=tuple(ids),
        source_ids=tuple(sources),
        files=tuple(sorted({*mine["file"], *twins["file"], *loose["file"]} - {""})),
        keys=tuple(sorted({*spine["key"], *_old_keys(layout, corpus, ids)})),
        streams=tuple(sorted(streams - set(others["digest"]))),
        shared=len(streams & set(others["digest"])),
        file_digests=tuple(sorted(digests - {"", *others["file_sha256"]})),
        rows=tuple(spine.select(ROW_COLUMNS).iter_rows()),
        moved=_moved(mine, twins, loose, set(spine.filter(~pl.col("superseded"))["asset_id"])),
    )


def assets_named(name: str, *frames: pl.DataFrame) -> list[str]:
    """Return the assets that have a name, which is their id or a source's; old names and twins' are names too."""
    named = (pl.col("source_id") == name) | (pl.col("asset_id") == name)
    return sorted({asset for frame in frames for asset in frame.filter(named)["asset_id"]})


def twins_among(drops: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a quarantine that stand for second copies of known assets."""
    return drops.filter(pl.col("code").is_in(["duplicate", "near_duplicate"]) & (pl.col("asset_id") != ""))


def write_order(layout: StoreLayout, order: ForgetOrder) -> None:
    """Write an order down, before anything is done."""
    make_directory(layout.runs)
    replace_bytes(_path(layout, order), canonical_json(asdict(order)))


def read_orders(layout: StoreLayout, corpus: str) -> tuple[ForgetOrder, ...]:
    """Return the orders of a corpus that were begun and not finished."""
    found = []
    for path in sorted(layout.runs.glob("forget-*.json")):
        try:
            order = _parse(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged: {error}. Remove it, and run `mmpipe forget` again.") from error
        if order.corpus == corpus:
            found.append(order)
    return tuple(found)


def drop_order(layout: StoreLayout, order: ForgetOrder) -> None:
    """Remove an order that is done: it has names in it."""
    remove_file(_path(layout, order))


def _old_keys(layout: StoreLayout, corpus: str, ids: list[str]) -> set[str]:
    """Return the keys of clips that only old revisions have."""
    dataset = layout.dataset(corpus, CLIPS)
    keys: set[str] = set()
    for manifest, shard in every_shard(dataset):
        if all(has_object(dataset, file) for file in shard.files):
            frame = read_shard_table(dataset, kind_of(dataset, SPINE, manifest), shard)
            keys.update(frame.filter(pl.col("asset_id").is_in(ids))["key"])
    return keys


def _moved(mine: pl.DataFrame, twins: pl.DataFrame, loose: pl.DataFrame, live: set[str]) -> dict[str, dict[str, int]]:
    moved: dict[str, dict[str, int]] = {}
    used = mine.filter(pl.col("asset_id").is_in(sorted(live)) & (pl.col("file") != ""))  # words of a label are in none
    for fate, rows in (("used", used), ("duplicates", twins), ("quarantined", loose)):
        for partition, file in rows.select("partition", "file").unique().iter_rows():
            assert file, f"a row of {partition} that counts as {fate} names no file"
            counts = moved.setdefault(partition, {})
            counts[fate] = counts.get(fate, 0) + 1
    return moved


def _path(layout: StoreLayout, order: ForgetOrder) -> StorePath:
    return layout.runs / f"forget-{digest_of(order.corpus, order.name)[:24]}.json"


def _parse(table: dict[str, object]) -> ForgetOrder:
    lists = {name: tuple(value) for name, value in table.items() if isinstance(value, list)}
    lists["rows"] = tuple(tuple(row) for row in lists["rows"])
    return ForgetOrder(**{**table, **lists})  # type: ignore[arg-type]
