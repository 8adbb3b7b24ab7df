"""Count what a store holds: the funnel from files to values, the features, and what a model was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import polars as pl

from mmpipe.report.values import FeatureCounts, Funnel, Source, Tally
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import manifest_name
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import Snapshot, snapshot_path
from mmpipe.words import counted

# As the store's totals call them, and as people are told: clips that a filter leaves out are something else.
_FATES = {name: name for name in ("used", "quarantined", "duplicates", "tombstoned")} | {"filtered": "left out"}


def heads_of(layout: StoreLayout, corpus: str, name: str) -> list[Manifest]:
    """Return the head of each partition of a dataset."""
    dataset = layout.dataset(corpus, name)
    return [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]


def show_funnel(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, filtered: int, features: Sequence[FeatureCounts]
) -> Funnel:
    """Return what went in and what came out: the fates share out the files."""
    totals = [head.totals for head in heads_of(layout, corpus, CLIPS)]
    fates = {name: sum(total.get(name, 0) for total in totals) for name in _FATES}
    return Funnel(
        stages=(
            Tally(label="files", count=sum(fates.values())),
            Tally(label="assets", count=live["asset_id"].n_unique()),
            Tally(label="clips", count=live.height, note=f"{filtered:,} left out by filters" if filtered else ""),
            Tally(label="feature values", count=sum(one.written for one in features), note=_of(features)),
        ),
        fates=tuple(
            Tally(label=_FATES[name], count=count) for name, count in fates.items() if count or name != "tombstoned"
        ),
    )


def count_features(layout: StoreLayout, corpus: str) -> Iterator[FeatureCounts]:
    """Yield what each feature holds of the clips."""
    for name in layout.feature_names(corpus):
        heads = heads_of(layout, corpus, name)
        schema = read_schema(layout.dataset(corpus, name))
        shards = [shard for head in heads for shard in head.shards]
        yield FeatureCounts(
            feature=name,
            shape=f"{schema.kind}, {schema.dim} wide",
            shards=len(shards),
            written=sum(shard.samples for shard in shards),
            absent=sum(shard.absent for shard in shards),
            quarantined=sum(shard.quarantined for shard in shards),
            nbytes=sum(file.nbytes for shard in shards for file in shard.files),
        )


def show_lineage(layout: StoreLayout, snapshot: Snapshot) -> Iterator[Source]:
    """Yield what a model was made from, with where it lies as seen from a page."""
    where = _beside(layout, snapshot_path(layout, snapshot.digest))
    yield Source(kind="snapshot", name=snapshot.corpus, digest=snapshot.digest, href=where)
    for entry in snapshot.entries:
        meta = layout.dataset(snapshot.corpus, entry.dataset).meta(entry.partition)
        yield Source(
            kind="manifest",
            name=f"{entry.dataset} dt={entry.partition}",
            digest=entry.sha256,
            note=f"revision {entry.revision}",
            href=_beside(layout, meta / manifest_name(entry.revision)),
        )


def _beside(layout: StoreLayout, path: Path) -> str:
    """Return a path relative to the pages of a store, which may be moved with it; "" where they lie elsewhere."""
    if not isinstance(layout.root, Path) or not path.is_relative_to(layout.root):
        return ""
    return quote(f"../{path.relative_to(layout.root).as_posix()}", safe="/@=")


def _of(features: Sequence[FeatureCounts]) -> str:
    return f"of {counted(len(features), 'feature')}" if features else ""
