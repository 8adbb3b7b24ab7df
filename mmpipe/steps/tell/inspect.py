"""Answer what a person asks of a store: which datasets, what of this clip, how much is in quarantine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.remote import RemotePath
from mmpipe.steps.keep.forget_order import assets_named, twins_among
from mmpipe.steps.plan.clip_filters import FILTER_STAGE, FILTERED
from mmpipe.store.assets import read_assets, read_text_origins
from mmpipe.store.commit import read_head
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import CLIPS, SIGNALS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.reader import ShardReader
from mmpipe.store.schema import read_schema
from mmpipe.store.signals import SIGNAL_COLUMNS, read_signals
from mmpipe.store.spine import read_spine


def list_datasets(config: Config) -> list[dict[str, Any]]:
    """Return one row per dataset of the store."""
    layout = open_store(config.store)
    places = ((corpus, name) for corpus in layout.corpora() for name in layout.dataset_names(corpus))
    return [{"corpus": corpus, "dataset": name} | _count(layout.dataset(corpus, name)) for corpus, name in places]


def _count(dataset: DatasetLayout) -> dict[str, Any]:
    """Return how much the heads of a dataset hold."""
    counts = read_heads(dataset).select(
        partitions=pl.col("partition").n_unique(),
        newest=pl.col("partition").max().fill_null(""),
        shards=pl.col("shard").count(),
        rows=pl.col("samples").sum(),
        bytes=(pl.col("data_nbytes") + pl.col("index_nbytes")).sum(),
    )
    return counts.row(0, named=True)


def find_clips(config: Config, corpus: str, key: str) -> list[dict[str, Any]]:
    """Return all that is known of a clip, or of every clip of an asset or source.

    A name that its file had before, or that a second copy of it has, will do as well: `source_id` is the one it has.
    """
    layout = open_store(config.store)
    wanted = (pl.col("key") == key) | (pl.col("asset_id") == key) | (pl.col("source_id") == key)
    rows = _clips_where(layout, corpus, wanted)
    if not rows:
        twins = twins_among(read_quarantine(layout, corpus))
        ids = assets_named(key, read_assets(layout, corpus), twins)
        rows = _clips_where(layout, corpus, pl.col("asset_id").is_in(ids)) if ids else []
    origins = read_text_origins(layout, corpus, sorted({row["partition"] for row in rows})) if rows else {}
    return [
        {
            **row,
            "text_origin": origins.get(row["asset_id"], ""),
            "labels": json.loads(row["labels"]),
            **_signals(layout, corpus, row),
            **_values(layout, corpus, row),
        }
        for row in rows
    ]


def why_filtered(config: Config, corpus: str, name: str, asset_ids: Sequence[str] = ()) -> list[str]:
    """Say of every clip that is called so, or is of such an asset, that a filter left it out: which, why, and where.

    `asset_ids` are those that a name stands for as well.
    """
    layout = open_store(config.store)
    drops = read_quarantine(layout, corpus).filter(pl.col("stage") == FILTER_STAGE)
    called = pl.any_horizontal(pl.col("clip_key", "asset_id", "source_id") == name)
    rows = drops.filter(called | pl.col("asset_id").is_in(list(asset_ids))).sort("partition", "clip_key")
    place = layout.dataset(corpus, SIGNALS).root / "data"
    return [
        f"clip {row['clip_key']!r} of {row['source_id']!r} was left out by the filter "
        f"{row['code'].removeprefix(FILTERED)!r}: {row['detail']}. All that was measured of it: "
        f"{place}/dt={row['partition']}, key {row['clip_key']!r}; its row: mmpipe quarantine show {row['code']}; "
        f"to let it in: mmpipe quarantine release {row['clip_key']} --reason TEXT"
        for row in rows.iter_rows(named=True)
    ]


def why_no_clip(config: Config, corpus: str, name: str) -> str:
    """Say why a file or source has no clip, where the quarantine knows."""
    drops = read_quarantine(open_store(config.store), corpus)
    said = drops.filter((pl.col("file") == name) | (pl.col("source_id") == name)).unique("code", maintain_order=True)
    return "; ".join(f"{drop['code']}: {drop['detail']}" for drop in said.to_dicts())


def _clips_where(layout: StoreLayout, corpus: str, wanted: pl.Expr) -> list[dict[str, Any]]:
    partitions = _partitions_with(layout.dataset(corpus, CLIPS), wanted)
    return read_spine(layout, corpus, partitions).filter(wanted).to_dicts()


def _partitions_with(dataset: DatasetLayout, wanted: pl.Expr) -> list[str] | None:
    """Return the partitions whose spine has certain clips, without reading the other columns; None: look into all."""
    if isinstance(dataset.root, RemotePath):
        return None
    heads = read_heads(dataset).filter(pl.col("data") != "").select("partition", "data")
    paths = [dataset.object(sha256) for sha256 in heads["data"]]
    try:
        found = pl.scan_parquet(paths, glob=False, include_file_paths="path").filter(wanted).select("path").collect()
    except (OSError, pl.exceptions.PolarsError):
        return None  # what is wrong with a file is said by who reads it all
    held = {Path(path).name for path in found["path"]}
    return heads.filter(pl.col("data").is_in(list(held)))["partition"].unique().to_list()


def count_quarantined(config: Config, corpus: str) -> int:
    """Return how many files of a corpus cannot be used; the second copy of a file is none of them."""
    rows = read_quarantine(StoreLayout(config.store), corpus).filter((pl.col("code") != "duplicate") & ~pl.col("kept"))
    return rows.filter(pl.col("file") != "")["file"].n_unique()


def _signals(layout: StoreLayout, corpus: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured of a clip when it was taken in, if it was."""
    if SIGNALS not in layout.dataset_names(corpus):
        return {}
    found = read_signals(layout, corpus, (row["partition"],)).filter(pl.col("key") == row["key"])
    return {name: found[name][0] for name in SIGNAL_COLUMNS if len(found) and found[name][0] is not None}


def _values(layout: StoreLayout, corpus: str, row: dict[str, Any]) -> dict[str, str]:
    """Return for each feature the shape of a clip's value."""
    found = {}
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        head = read_head(dataset, row["partition"])
        entry = head.shard(row["shard"]) if head else None
        reader = entry and ShardReader.open(dataset, entry, read_schema(dataset))
        if reader and row["key"] in reader.keys:
            found[name] = str(list(reader.value(reader.keys.index(row["key"])).array.shape))
        else:
            found[name] = _why_none(layout, corpus, row, name)
    return found


def _why_none(layout: StoreLayout, corpus: str, row: dict[str, Any], feature: str) -> str:
    """Say why a clip has no value of a feature, where the quarantine knows."""
    drops = read_quarantine(layout, corpus, (row["partition"],))
    said = drops.filter((pl.col("clip_key") == row["key"]) & (pl.col("feature") == feature))
    return (
        "none: " + "; ".join(f"{drop['code']}, {drop['detail']}" for drop in said.to_dicts()) if len(said) else "none"
    )
