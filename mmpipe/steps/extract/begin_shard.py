"""Begin one feature of a shard in a worker, or go on where one before it was killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.features.extractor import MicroBatch, fingerprint, micro_batch_of
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Rendition
from mmpipe.io import make_directory
from mmpipe.steps.extract.clip_rows import place_of
from mmpipe.steps.extract.growing_shard import GrowingShard
from mmpipe.steps.extract.micro_batch import BatchComputer
from mmpipe.steps.extract.shard_meter import ShardMeter
from mmpipe.steps.extract.shard_parts import Parts
from mmpipe.steps.extract.spool import open_spool
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.plan.renditions import Preparation
from mmpipe.steps.plan.shard_work import FeatureWork, ShardWork
from mmpipe.steps.workers.compute import open_computer
from mmpipe.store.layout import StoreLayout
from mmpipe.store.shard import ShardSpec
from mmpipe.store.writer import open_shard_writer
from mmpipe.types import digest_of

_SPOOL_VERSION = 1  # another one reads no spool of before


def begin_feature(
    work: ShardWork,
    feature: FeatureWork,
    staging: Path,
    stack: ExitStack,
    parts: Parts,
    meter: ShardMeter,
    poisoned: Mapping[str, str],
) -> GrowingShard:
    """Set the extractor up, begin a file in a staging folder, and take over what a worker before has spooled."""
    layout = StoreLayout(work.store)
    rendition = Rendition.model_validate_json(feature.rendition_json) if feature.rendition_json else None
    extractor = make_feature(feature.name, json.loads(feature.table_json), rendition)
    if fingerprint(extractor) != feature.fingerprint:
        raise ConfigError(
            f"{feature.feature} is not what was planned: its weights have changed since, or are others on this "
            "machine. Run the same again; on a cluster, give all machines the same model."
        )
    bounds = micro_batch_of(extractor)
    batches = BatchComputer(
        bounds=bounds,
        schema=extractor.schema,
        computer=open_computer(extractor, work.device, work.encoders, parts.go_on),
        parts=parts,
        meter=meter,
    )
    spec = ShardSpec(
        corpus=work.corpus,
        partition=work.partition,
        number=work.shard,
        schema=extractor.schema,
        fingerprint=feature.fingerprint,
    )
    places = Counter(
        place_of(stream, clip)
        for asset in work.assets
        if (stream := asset.stream(extractor.modality))
        for clip in asset.clips
    )
    preparation = None
    if rendition:
        preparation = Preparation(layout=layout, corpus=work.corpus, rendition=rendition, needs=extractor.needs)
    assets = {clip.ordinal: asset for asset in work.assets for clip in asset.clips}
    clips = {clip.ordinal: clip for asset in work.assets for clip in asset.clips}
    spool = stack.enter_context(open_spool(work.spool or layout.staging, spool_name(work, feature, bounds)))
    shard = GrowingShard(
        dataset=layout.dataset(work.corpus, feature.feature),
        feature=feature,
        extractor=extractor,
        batches=batches,
        spool=spool,
        meter=meter,
        writer=stack.enter_context(open_shard_writer(spec, make_directory(staging / feature.feature))),
        ordinals=tuple(sorted(clips)),
        reused={entry.ordinal: entry for entry in work.reused if entry.feature == feature.feature},
        twins=frozenset(place for place, count in places.items() if count > 1),
        preparation=preparation,
        staging=staging,
        run=work.run,
    )
    shard.recover(assets, clips, set(poisoned))
    return shard


def spool_name(work: ShardWork, feature: FeatureWork, bounds: MicroBatch) -> str:
    """Return the name under which a feature of a shard is spooled: equal where values and batches come out equal.

    It is over the whole of the work but where things lie, and but for the other features.
    """
    reused = tuple(entry for entry in work.reused if entry.feature == feature.feature)
    alone = replace(
        work,
        store=Path(),
        root=Path(),
        spool=None,
        encoders="",
        pictures="",
        run="",
        features=(feature,),
        reused=reused,
    )
    said = encode(ShardWork, alone)
    return f"spool-{digest_of('spool', _SPOOL_VERSION, bounds.max_clips, bounds.max_bytes, said)[:40]}"
