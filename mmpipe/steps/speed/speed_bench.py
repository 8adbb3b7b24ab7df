"""Extract a sample of a corpus into a scratch store, and measure it against its ceilings; no dataset is touched."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import polars as pl

from mmpipe.config import Config
from mmpipe.engine.engine import Engine
from mmpipe.engine.work import WorkItem
from mmpipe.errors import ConfigError, ShardError
from mmpipe.features.extractor import Extractor, extractor_behind, feature_name
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.prepared import Prepared
from mmpipe.steps.extract.shard_plan import plan_works
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.plan import ShardDue
from mmpipe.steps.plan.shard_work import ShardDone, ShardWork
from mmpipe.steps.speed.speed import SpeedReport, judge_speed
from mmpipe.steps.speed.speed_choice import SampleRule, choose_sample, part_of
from mmpipe.steps.speed.speed_measure import measure_speed, sample_stages
from mmpipe.steps.workers.compute import resolve_device
from mmpipe.steps.workers.device_pool import DevicePool
from mmpipe.steps.workers.picture_pool import picture_specs
from mmpipe.steps.workers.workers import devices_beside, num_workers, pictures_beside, shared_engine
from mmpipe.store.layout import StoreLayout, create_store, open_store
from mmpipe.store.schema import freeze_schema
from mmpipe.store.spine import read_spine
from mmpipe.types import digest_of

FUNCTION = "mmpipe.steps.extract.extract_shard:extract_shard"
RULE = SampleRule(share=0.25, from_s=0.0, most_s=30.0)  # here the ceilings are what is asked for
_FIRST_CLIPS = 1_000_000  # from this shard on
_SHARDS_PER_WORKER = 4  # so that the last one does not run alone for long


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """What a bench measured."""

    corpus: str
    features: tuple[str, ...]
    left_out: tuple[str, ...]  # features that cannot be made outside of their store
    device: str
    start_s: float  # until every worker had made a clip: processes, imports, models
    speed: SpeedReport


def bench_extract(config: Config, corpus: str, num_clips: int = 200, device: str | None = None) -> BenchReport:
    """Extract about `num_clips` clips of a corpus that is ingested; the draw is the same every time.

    ConfigError: nothing is ingested, or there is nothing to make. ShardError: a shard of the sample could not be made.
    """
    if device:
        config = config.model_copy(update={"engine": config.engine.model_copy(update={"device": device})})
    layout = open_store(config.store)
    extractors, left_out = _makeable(resolve_features(config, corpus))
    if not extractors:
        raise ConfigError(f"corpus {corpus!r} has no feature that can be made outside of its store")
    works = _sample_works(config, layout, corpus, extractors, num_clips)
    where = resolve_device(config.engine, list(extractors.values()))
    specs = picture_specs(config.engine, extractors.values())
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        scratch = create_store(Path(folder) / "store")
        for name, extractor in extractors.items():
            freeze_schema(scratch.dataset(corpus, name), extractor.schema)
        with (
            shared_engine(config) as engine,
            devices_beside(where if config.engine.kind == "local" else "cpu") as pool,
            pictures_beside(specs) as pictures,
        ):
            works = [
                replace(
                    work,
                    store=scratch.root,
                    spool=scratch.staging,
                    device=where,
                    encoders=pool.address,
                    pictures=pictures.address,
                )
                for work in works
            ]
            started = time.monotonic()
            first = _run(engine, _first_clips(works, num_workers(config)))
            start_s = time.monotonic() - started
            speed = _measure(config, engine, pool, works, first)
    return BenchReport(
        corpus=corpus,
        features=tuple(extractors),
        left_out=left_out,
        device=where,
        start_s=start_s,
        speed=speed,
    )


def _measure(
    config: Config, engine: Engine, pool: DevicePool, works: Sequence[ShardWork], first: Sequence[ShardDone]
) -> SpeedReport:
    """Time the bare stages before the extraction and after it: a machine that slows down meanwhile shows in both."""
    meters = [shard.meter for shard in first]
    clip_s = sum(meter.decode_s + meter.encode_s for meter in meters) / max(1, sum(meter.clips for meter in meters))
    thought_s = clip_s * sum(work.num_clips for work in works) / num_workers(config)
    before, _ = sample_stages(engine, pool, works, first, RULE.budget_s(thought_s) / 2)
    started = time.monotonic()
    done = _run(engine, works)
    facts = measure_speed(
        engine,
        pool,
        works,
        done,
        run_s=time.monotonic() - started,
        workers=num_workers(config),
        price_per_hour=config.engine.price_per_hour,
        rule=RULE,
    )
    if facts is None:
        raise ConfigError("the sample holds nothing to decode: its clips lack what the features read")
    return judge_speed(replace(facts, sample=before + facts.sample))


def _makeable(features: Iterable[Extractor]) -> tuple[dict[str, Extractor], tuple[str, ...]]:
    """Return the features that need nothing of the store, and the names of the others."""
    found = {feature_name(feature): feature for feature in features}
    bound = {
        name
        for name, feature in found.items()
        if isinstance(feature, Prepared) or isinstance(extractor_behind(feature), PinnedFeature)
    }
    return {name: found[name] for name in sorted(found.keys() - bound)}, tuple(sorted(bound))


def _sample_works(
    config: Config, layout: StoreLayout, corpus: str, extractors: dict[str, Extractor], num_clips: int
) -> list[ShardWork]:
    spine = read_spine(layout, corpus).filter(~pl.col("superseded"))
    if spine.is_empty():
        raise ConfigError(f"nothing of corpus {corpus!r} is ingested yet, and a bench decodes its clips: mmpipe ingest")
    places = spine.group_by("partition", "shard").len().sort("partition", "shard").rows()
    random.Random(digest_of("bench", corpus)).shuffle(places)
    dues: list[ShardDue] = []
    for partition, shard, clips in places:
        if sum(due.clips for due in dues) >= 4 * num_clips:
            break
        names = tuple(extractors)
        due = ShardDue(
            partition=partition, shard=shard, features=names, reasons=("bench",) * len(names), clips=clips, reuse=False
        )
        dues.append(due)
    works = plan_works(config, layout, corpus, dues, extractors)
    parts = choose_sample(works, num_clips, _SHARDS_PER_WORKER * num_workers(config))
    chosen = [shard for part in parts for shard in part.shards]
    if not chosen:
        raise ConfigError(f"corpus {corpus!r} has no clip with media to sample")
    return [replace(work, shard=number) for number, work in enumerate(chosen)]


def _first_clips(works: Sequence[ShardWork], workers: int) -> list[ShardWork]:
    """Return one clip for every worker, as shards of their own numbers: it loads its models for them."""
    return [
        replace(part_of(work, [replace(work.assets[0], clips=work.assets[0].clips[:1])]), shard=_FIRST_CLIPS + number)
        for number, work in zip(range(workers), cycle(works), strict=False)
    ]


def _run(engine: Engine, works: Sequence[ShardWork]) -> list[ShardDone]:
    items = [
        WorkItem(name=f"bench shard {work.shard}", payload=work, timeout_s=work.limits.seconds_per_asset)
        for work in works
    ]
    done = []
    for outcome in engine.run(FUNCTION, items):
        if outcome.result is None:
            why = f"{outcome.failure.code}: {outcome.failure.detail}" if outcome.failure else "no result"
            raise ShardError(f"{outcome.name} could not be made: {why}")
        done.append(decode(ShardDone, outcome.result))
    return done
