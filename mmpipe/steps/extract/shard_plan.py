"""Turn due shards into work: the clips, the files of their assets, what is finished already and what can be copied."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import polars as pl

from mmpipe.config import Config
from mmpipe.features.extractor import Extractor, fingerprint
from mmpipe.features.naming import rendition_of
from mmpipe.steps.extract.commit import find_receipt
from mmpipe.steps.extract.reuse import PLACE, find_reusable
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.plan.feature_table import decided_table
from mmpipe.steps.plan.inputs import shard_inputs
from mmpipe.steps.plan.plan import ShardDue
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, FeatureWork, ReusedValue, ShardWork
from mmpipe.store.admitted import Admitted, read_admitted
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.receipt import drop_receipts
from mmpipe.store.spine import read_spine_shards
from mmpipe.types import Asset, Clip, Modality


def plan_works(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    shards: Sequence[ShardDue],
    extractors: Mapping[str, Extractor],
) -> list[ShardWork]:
    """Return what workers must know to make due shards; a shard that is finished but for its commit is left out.

    A partition's assets and due shards of its spine are read once, and each feature's committed indexes once for all.
    """
    works: list[ShardWork] = []
    judged: list[ShardDue] = []
    admitted = read_admitted(layout, corpus)
    for partition, dues in groupby(
        sorted(shards, key=lambda due: (due.partition, due.shard)), lambda due: due.partition
    ):
        wanted = list(dues)
        spine = read_spine_shards(layout, corpus, partition, {due.shard for due in wanted})
        streams = read_assets(layout, corpus, (partition,))
        assets = assets_of(streams.filter(pl.col("asset_id").is_in(spine["asset_id"].unique().implode())))
        for due in wanted:
            rows = spine.filter(pl.col("shard") == due.shard).sort("ordinal")
            features = tuple(_features_to_make(config, layout, corpus, due, rows, extractors))
            if features:
                works.append(_to_work(config, layout, corpus, due, rows, features, assets, admitted))
                judged.append(due)
    reused = _find_reused(layout, corpus, works, judged, extractors)
    return [replace(work, reused=tuple(reused.get(number, ()))) for number, work in enumerate(works)]


def _features_to_make(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    due: ShardDue,
    rows: pl.DataFrame,
    extractors: Mapping[str, Extractor],
) -> Iterator[FeatureWork]:
    """Yield the features of a shard that have no receipt."""
    for name in due.features:
        extractor = extractors[name]
        work = FeatureWork(
            name=extractor.name,
            table_json=json.dumps(decided_table(config, extractor), sort_keys=True),
            feature=name,
            fingerprint=fingerprint(extractor),
            inputs=shard_inputs(rows, extractor.modality),
            rendition_json=rendition.model_dump_json() if (rendition := rendition_of(extractor)) else "",
        )
        if due.again:
            _forget(layout, corpus, due, work)
        if not find_receipt(layout.dataset(corpus, name), due.partition, work.fingerprint, due.shard, work.inputs):
            yield work


def _to_work(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    due: ShardDue,
    rows: pl.DataFrame,
    features: tuple[FeatureWork, ...],
    assets: Sequence[Asset],
    admitted: Admitted,
) -> ShardWork:
    _, source = config.corpus(corpus)
    live = rows.filter(~pl.col("superseded"))
    return ShardWork(
        store=layout.root,
        corpus=corpus,
        partition=due.partition,
        shard=due.shard,
        root=media_root(layout, corpus, source),
        limits=source.limits,
        features=features,
        assets=_group_assets(live, assets, admitted),
        reused=(),
        num_clips=live.height,
        num_superseded=rows.height - live.height,
        arrays=source.arrays,
        text=source.text,
        max_missing=source.damage.max_missing,
        spool=layout.staging,
        fresh="" if due.reuse and not due.again else uuid.uuid4().hex,
    )


def _find_reused(
    layout: StoreLayout,
    corpus: str,
    works: Sequence[ShardWork],
    dues: Sequence[ShardDue],
    extractors: Mapping[str, Extractor],
) -> dict[int, list[ReusedValue]]:
    """Return for the numbers of works the values that are committed already."""
    found: dict[int, list[ReusedValue]] = {}
    features = {feature.feature: feature.fingerprint for work in works for feature in work.features}
    for name, wanted_fingerprint in sorted(features.items()):
        rows = [
            row
            for number, work in enumerate(works)
            if dues[number].reuse and any(feature.feature == name for feature in work.features)
            for row in _places(number, work, extractors[name].modality)
            if row[2] not in dues[number].anew
        ]
        wanted = pl.DataFrame(rows, schema=PLACE, orient="row")
        for number, value in find_reusable(layout, corpus, name, wanted_fingerprint, wanted):
            found.setdefault(number, []).append(value)
    return found


def _places(number: int, work: ShardWork, modality: Modality) -> Iterator[tuple[int, int, str, int, int]]:
    """Yield where each clip of a work cuts which stream."""
    for asset in work.assets:
        stream = asset.stream(modality)
        if stream:
            yield from (
                (number, clip.ordinal, stream.digest, clip.clip.start_ns, clip.clip.end_ns) for clip in asset.clips
            )


def _forget(layout: StoreLayout, corpus: str, due: ShardDue, work: FeatureWork) -> None:
    """Drop the receipt of a shard that is committed as it says: its commit was cut short, and it is to be made anew."""
    dataset = layout.dataset(corpus, work.feature)
    head = read_head(dataset, due.partition)
    receipt = find_receipt(dataset, due.partition, work.fingerprint, due.shard, work.inputs)
    if head and receipt and head.shard(due.shard) == receipt.entry:
        drop_receipts(dataset, due.partition, work.fingerprint, (receipt.entry,))


def _group_assets(rows: pl.DataFrame, found: Sequence[Asset], admitted: Admitted) -> tuple[AssetWork, ...]:
    """Join the live clips of a shard with the files of their assets."""
    assets = {asset.asset_id: asset for asset in found}
    clips: dict[str, list[ClipWork]] = {}
    for row in rows.iter_rows(named=True):
        clip = Clip(
            key=row["key"],
            asset_id=row["asset_id"],
            start_ns=row["start_ns"],
            end_ns=row["end_ns"],
            text=row["text"],
        )
        clips.setdefault(clip.asset_id, []).append(ClipWork(ordinal=row["ordinal"], clip=clip))

    return tuple(
        AssetWork(
            asset_id=asset_id,
            source_id=assets[asset_id].source_id,
            streams=assets[asset_id].streams,
            cues=assets[asset_id].cues,
            clips=tuple(group),
            released=admitted.codes([stream.file_sha256 for stream in assets[asset_id].streams]),
        )
        for asset_id, group in clips.items()
    )
