"""Make what an ingest measured again: the same ingest of the same recordings, in a store of its own.

What was decided on a night depends on what was there before it, so the store of its own begins as the night did: with
what older dates keep, and with nothing of this one but its tables that are whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.ground.mirror import is_mirrored
from mmpipe.steps.ingest.homes import Homes, read_homes
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.intake import Look, look_at_corpus
from mmpipe.steps.ingest.near_told import NEAR
from mmpipe.steps.keep.made_tables import MadeTable, newest_whole, read_made, scratch_store
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import (
    ADMITTED,
    ASSETS,
    PRINTS,
    SIGNALS,
    SURVEYS,
    TOMBSTONES,
    DatasetLayout,
    StoreLayout,
)
from mmpipe.store.manifest import Manifest
from mmpipe.store.objects import put_bytes, read_object
from mmpipe.store.revisions import read_head

MEASURED = (SIGNALS, SURVEYS, PRINTS)


def measure_again(
    config: Config, layout: StoreLayout, corpus: str, partition: str, names: frozenset[str]
) -> Iterator[Mapping[str, MadeTable]]:
    """Yield what the lost tables of a date come to: over the newest whole revision before them, then from nothing."""
    bases = {name: newest_whole(layout.dataset(corpus, name), partition) for name in names}
    yield _ingest_again(config, layout, corpus, partition, bases)
    if any(bases.values()):
        yield _ingest_again(config, layout, corpus, partition, dict.fromkeys(names))


def _ingest_again(
    config: Config, layout: StoreLayout, corpus: str, partition: str, bases: Mapping[str, Manifest | None]
) -> dict[str, MadeTable]:
    _, source = config.corpus(corpus)
    if not is_mirrored(source) and not source.root.is_dir():
        raise StoreError(f"the corpus root {source.root} is not a folder")
    look = _look_then(look_at_corpus(config, corpus, refresh=False), read_homes(layout, corpus), partition)
    with scratch_store() as scratch:
        if is_mirrored(source):
            os.symlink(layout.local / "_mirror", scratch.local / "_mirror")
        for name, date, manifest in _known_then(layout, corpus, partition, bases):
            _copy(layout.dataset(corpus, name), scratch.dataset(corpus, name), date, manifest)
        alone = {corpus: source.model_copy(update={"max_quarantined": 1.0})}
        watch = config.watch.logs_alone()
        asked = config.model_copy(update={"store": scratch.root, "corpora": alone, "models": {}, "watch": watch})
        ingest_corpus(asked, corpus, partition, look=look)
        found = {name: read_made(scratch.dataset(corpus, name), partition) for name in bases}
    return {name: replace(made, asset_ids=_told_of(made.data)) for name, made in found.items() if made is not None}


def _look_then(look: Look, homes: Homes, partition: str) -> Look:
    """Return of a look only what was taken in on a date, whatever date its rule would say now."""
    mine = [
        group
        for groups in look.by_date.values()
        for group in groups
        if homes.of(group.source_id, None) == partition
        or any(homes.of_file(file.name) == partition for file in group.files)
    ]
    return replace(look, by_date={None: tuple(mine)}, drops=(), undated=(), pending="")


def _known_then(
    layout: StoreLayout, corpus: str, partition: str, bases: Mapping[str, Manifest | None]
) -> Iterator[tuple[str, str, Manifest]]:
    """Yield (dataset, date, manifest) of what the ingest of a date may know."""
    for name in (TOMBSTONES, ADMITTED, ASSETS, *MEASURED):
        dataset = layout.dataset(corpus, name)
        for date in dataset.partitions():
            is_known = name in (TOMBSTONES, ADMITTED) or (name in (ASSETS, PRINTS) and date < partition)
            is_whole = name in MEASURED and name not in bases and date == partition
            if (is_known or is_whole) and (head := read_head(dataset, date)):
                yield name, date, head
    for name, base in bases.items():
        if base is not None:
            yield name, partition, base


def _copy(source: DatasetLayout, target: DatasetLayout, partition: str, manifest: Manifest) -> None:
    for shard in manifest.shards:
        for file in shard.files:
            put_bytes(target, read_object(source, file))
    commit_partition(
        target,
        partition,
        schema=manifest.schema,
        fingerprint=manifest.fingerprint,
        shards={shard.number: shard for shard in manifest.shards},
        totals=dict(manifest.totals),
    )


def _told_of(data: bytes) -> frozenset[str]:
    """Return the assets that a table has rows of; a print of what is dropped is none of what is kept."""
    frame = pl.read_parquet(data)
    kept = frame.filter(pl.col("verdict") != NEAR) if "verdict" in frame.columns else frame
    return frozenset(kept["asset_id"].cast(pl.String))
