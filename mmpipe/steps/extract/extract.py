"""Make the features that a plan names: shards on the engine, then the commit of every whole partition."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.engine.engine import Engine
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ShardError
from mmpipe.features.extractor import feature_name, fingerprint
from mmpipe.steps.extract.commit import CommitReport, commit_features
from mmpipe.steps.extract.outbox import deliver, open_outbox
from mmpipe.steps.extract.shard_plan import plan_works
from mmpipe.steps.extract.staging import sweep_staging
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.watching import clip_tables, watch_stage
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.banks import ensure_banks
from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.forecast import FreeBytes, free_bytes, require_room
from mmpipe.steps.plan.inputs import split_inputs
from mmpipe.steps.plan.ledger import identity_of, read_ledger
from mmpipe.steps.plan.plan import Plan, ShardDue, raise_if_running
from mmpipe.steps.plan.shard_work import ShardDone, ShardWork, WorkMeter
from mmpipe.steps.share.external_shards import fill_external
from mmpipe.steps.speed.speed import SpeedFacts, SpeedReport, judge_speed
from mmpipe.steps.speed.speed_measure import measure_speed
from mmpipe.steps.speed.speed_notes import note_speed
from mmpipe.steps.workers.compute import CPU, resolve_device
from mmpipe.steps.workers.device_pool import DevicePool, DeviceReport
from mmpipe.steps.workers.picture_pool import picture_specs
from mmpipe.steps.workers.workers import devices_beside, num_workers, pictures_beside, shared_engine
from mmpipe.store.claims import Claim, Place, claim_shards
from mmpipe.store.identity import note_identity
from mmpipe.store.journal import MadeShard, note_made
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.store.schema import freeze_schema
from mmpipe.store.throughput import ThroughputNote, note_throughput
from mmpipe.watch.drops import log_drops
from mmpipe.watch.stage import Stage
from mmpipe.watch.watcher import OpenStage
from mmpipe.words import counted

FUNCTION = "mmpipe.steps.extract.extract_shard:extract_shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractReport:
    """What a batch of shards came to; nothing of it is visible before the commit."""

    corpus: str
    shards: int
    computed: int
    reused: int
    quarantined: Mapping[str, int]  # by reason
    seconds: float
    meters: tuple[WorkMeter, ...] = ()  # of every shard that was made by a worker
    devices: tuple[DeviceReport, ...] = ()  # what each encoder process did since the run began
    speed: SpeedFacts | None = None  # None where no worker decoded anything
    failed: int = 0  # shards that could not be made
    held: Mapping[Place, str] = field(default_factory=dict)  # shards that somebody else was making, and who

    def summary(self) -> str:
        """Return a line of Markdown."""
        dropped = sum(self.quarantined.values())
        return (
            f"{counted(self.shards, 'shard')} of `{self.corpus}`: {counted(self.computed, 'value')} computed, "
            f"{self.reused} reused, {counted(dropped, 'clip')} quarantined, {self.seconds:.1f} s"
        )

    @property
    def speed_report(self) -> SpeedReport | None:
        """Return how close it came to what the machine can do."""
        return judge_speed(self.speed) if self.speed else None

    def table(self) -> list[dict[str, Any]]:
        """Return rows of plain values."""
        return [{"what": f"quarantined: {code}", "count": count} for code, count in sorted(self.quarantined.items())]


def extract_plan(
    config: Config, plan: Plan, progress: Progress = SILENT, free: FreeBytes = free_bytes
) -> tuple[ExtractReport, CommitReport]:
    """Extract and commit everything that a plan names; HeldError, after all of that: shards that others are making.

    ConfigError, before any work: there is no room for it. ShardError, after all the others are committed: shards
    that could not be made.
    """
    report, committed = extract_free(config, plan, progress, free)
    raise_if_running(report.held, report)
    return report, committed


def extract_free(
    config: Config, plan: Plan, progress: Progress = SILENT, free: FreeBytes = free_bytes
) -> tuple[ExtractReport, CommitReport]:
    """Extract and commit what a plan names and nobody else is making; the report says who makes the rest.

    Errors as of `extract_plan`, but for HeldError.
    """
    layout = create_store(config.store)
    with watch_stage(config, Stage.EXTRACT, corpus=plan.corpus, dates=plan.partitions) as stage:
        with shared_engine(config):  # the workers that make a bank go on with the shards
            ensure_banks(config, plan.corpus, _features(plan.shards), progress)
            require_room(config, plan.corpus, plan.shards, free)
            with claim_shards(layout, plan.corpus, _places(plan.shards)) as claim:
                shards = _still_due(config, plan.corpus, plan.shards, claim)
                report, failed = _extract(config, plan.corpus, shards, progress, stage)
                behind = {failure.partition for failure in failed}
                counts = [
                    count
                    for partition in sorted({due.partition for due in shards} - behind)
                    for count in commit_features(config, plan.corpus, partition).features
                ]
        _raise_failures(failed, report)
    report = replace(report, held={**plan.running_places, **claim.held})
    return report, CommitReport(corpus=plan.corpus, features=tuple(counts))


def extract_shards(
    config: Config,
    corpus: str,
    shards: Sequence[ShardDue],
    progress: Progress = SILENT,
    free: FreeBytes = free_bytes,
) -> ExtractReport:
    """Make shards durable, each with a receipt; those that have one already are not made again.

    ShardError, after all the others are made: shards that could not be. HeldError, with the report of the others:
    shards that somebody else makes.
    """
    layout = create_store(config.store)
    dates = sorted({due.partition for due in shards})
    with watch_stage(config, Stage.EXTRACT, corpus=corpus, dates=dates) as stage:
        with shared_engine(config):
            ensure_banks(config, corpus, _features(shards), progress)
            require_room(config, corpus, shards, free)
            with claim_shards(layout, corpus, _places(shards)) as claim:
                report, failed = _extract(config, corpus, _still_due(config, corpus, shards, claim), progress, stage)
            report = replace(report, held=claim.held)
        _raise_failures(failed, report)
    raise_if_running(claim.held, report)
    return report


def _features(shards: Iterable[ShardDue]) -> set[str]:
    return {name for due in shards for name in due.features}


def _places(shards: Iterable[ShardDue]) -> set[Place]:
    return {(due.partition, due.shard) for due in shards}


def _still_due(config: Config, corpus: str, shards: Sequence[ShardDue], claim: Claim) -> tuple[ShardDue, ...]:
    """Return the claimed shards without what somebody has committed since they were planned."""
    taken = tuple(due for due in shards if (due.partition, due.shard) in claim.taken)
    made = _complete(config, corpus, [due for due in taken if not due.again])
    return tuple(left for due in taken if (left := due if due.again else due.without(made)).features)


def _complete(config: Config, corpus: str, dues: Sequence[ShardDue]) -> set[tuple[str, int, str]]:
    """Return the (partition, shard, feature) that are complete by now in the partitions of due shards."""
    if not dues:
        return set()
    partitions, features = ({due.partition for due in dues}, {name for due in dues for name in due.features})
    ledger = read_ledger(config, corpus, sorted(partitions), sorted(features))
    return set(ledger.filter(pl.col("state") == State.COMPLETE).select("partition", "shard", "feature").iter_rows())


def _still_to_make(
    config: Config, corpus: str, works: Sequence[ShardWork], dues: Sequence[ShardDue]
) -> list[ShardWork]:
    """Return works without what was committed while they were planned: its receipts, which would say so, are gone."""
    again = {(due.partition, due.shard) for due in dues if due.again}
    places = {(work.partition, work.shard) for work in works} - again
    made = _complete(config, corpus, [due for due in dues if (due.partition, due.shard) in places])
    made = {(partition, shard, name) for partition, shard, name in made if (partition, shard) in places}
    if not made:
        return list(works)
    return [left for work in works if (left := _without(work, made)).features]


def _without(work: ShardWork, made: Collection[tuple[str, int, str]]) -> ShardWork:
    features = tuple(one for one in work.features if (work.partition, work.shard, one.feature) not in made)
    names = {one.feature for one in features}
    return replace(work, features=features, reused=tuple(value for value in work.reused if value.feature in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A shard that could not be made as a whole."""

    partition: str
    detail: str


def _extract(
    config: Config, corpus: str, planned: Sequence[ShardDue], progress: Progress, stage: OpenStage
) -> tuple[ExtractReport, tuple[_Failed, ...]]:
    started = time.monotonic()
    layout = create_store(config.store)
    extractors = {feature_name(extractor): extractor for extractor in resolve_features(config, corpus)}
    for name in sorted({name for due in planned for name in due.features}):
        freeze_schema(layout.dataset(corpus, name), extractors[name].schema)
        note_identity(layout.dataset(corpus, name), fingerprint(extractors[name]), identity_of(extractors[name]))
    filled, shards = fill_external(layout, corpus, planned)
    works = _still_to_make(config, corpus, plan_works(config, layout, corpus, shards, extractors), shards)
    device = resolve_device(config.engine, [extractors[name] for name in _features(shards)]) if works else CPU
    progress.start("extract", sum(work.num_clips for work in works))
    specs = picture_specs(config.engine, [extractors[name] for name in _features(shards)]) if works else ()
    with (
        open_outbox(layout) as outbox,
        shared_engine(config) as engine,
        _devices(config, device) as devices,
        pictures_beside(specs) as pictures,
    ):
        run = uuid.uuid4().hex
        works = [
            replace(work, device=device, encoders=devices.address, pictures=pictures.address, run=run) for work in works
        ]
        works = outbox.address(works) if outbox else works
        settled = list(deliver(outbox, works, _run_works(engine, works, progress)))
        encoders = devices.reports()
        speed = measure_speed(
            engine,
            devices,
            works,
            [shard for shard in settled if isinstance(shard, ShardDone)],
            run_s=time.monotonic() - started,
            workers=num_workers(config),
            price_per_hour=config.engine.price_per_hour,
        )
    sweep_staging(layout.staging)  # of workers that were killed, in this run or one before
    done = [*filled, *(shard for shard in settled if isinstance(shard, ShardDone))]
    quarantined: dict[str, int] = {}
    for shard in done:
        for feature in shard.features:
            for drop in (drop for drop in feature.drops if not drop.kept):
                quarantined[drop.code] = quarantined.get(drop.code, 0) + 1
    report = ExtractReport(
        corpus=corpus,
        shards=len({(shard.partition, shard.shard) for shard in done}),
        computed=sum(shard.computed for shard in done),
        reused=sum(shard.reused for shard in done),
        quarantined=quarantined,
        seconds=time.monotonic() - started,
        meters=tuple(shard.meter for shard in done if shard.meter.worker),
        devices=encoders,
        speed=speed,
        failed=len(settled) - sum(isinstance(shard, ShardDone) for shard in settled),
    )
    _tell(stage, layout, report, done)
    if speed:
        note_speed(layout, corpus, speed)
    if done:
        reasons = {(due.partition, due.shard, name): why for due in planned for name, why in due.named_reasons()}
        note_made(layout, corpus, list(_made(done, reasons)), datetime.now(UTC).isoformat(timespec="milliseconds"))
    if report.computed:
        names = sorted({feature.feature for shard in done for feature in shard.features})
        note_throughput(layout, corpus, _note_of(report, names, num_workers(config)))
    return report, tuple(shard for shard in settled if isinstance(shard, _Failed))


def _tell(stage: OpenStage, layout: StoreLayout, report: ExtractReport, done: Sequence[ShardDone]) -> None:
    """Say to whoever watches what a batch came to; that it is committed, is another stage."""
    log_drops(report.corpus, [drop for shard in done for feature in shard.features for drop in feature.drops])
    stage.read(partial(clip_tables, layout, report.corpus, sorted({shard.partition for shard in done})))
    stage.count(
        shards=report.shards,
        computed=report.computed,
        reused=report.reused,
        quarantined=sum(report.quarantined.values()),
        failed=report.failed,
    )


def _made(done: Iterable[ShardDone], reasons: Mapping[tuple[str, int, str], str]) -> Iterator[MadeShard]:
    for shard in done:
        for feature in shard.features:
            yield MadeShard(
                partition=shard.partition,
                shard=shard.shard,
                feature=feature.feature,
                inputs=feature.entry.inputs,
                clips=feature.entry.spine - len(split_inputs(feature.entry.inputs)[1]),
                reason=reasons[shard.partition, shard.shard, feature.feature],
            )


def _note_of(report: ExtractReport, features: Sequence[str], workers: int) -> ThroughputNote:
    return ThroughputNote(
        features=features,
        computed=report.computed,
        reused=report.reused,
        seconds=report.seconds,
        workers=workers,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _raise_failures(failed: Sequence[_Failed], report: ExtractReport) -> None:
    if failed:
        details = "\n".join(failure.detail for failure in failed)
        raise ShardError(
            f"{len(failed)} shards could not be made; run the same again for these alone:\n{details}", report
        )


def _devices(config: Config, device: str) -> AbstractContextManager[DevicePool]:
    """Enter the devices of this machine; a worker of a cluster has its own."""
    return devices_beside(device) if config.engine.kind == "local" else nullcontext(DevicePool(None))


def _run_works(engine: Engine, works: Sequence[ShardWork], progress: Progress) -> Iterable[ShardDone | _Failed]:
    items = {f"{work.corpus} dt={work.partition} shard {work.shard}": work for work in works}
    outcomes = engine.run(
        FUNCTION,
        [WorkItem(name=name, payload=work, timeout_s=work.limits.seconds_per_asset) for name, work in items.items()],
    )
    for outcome in outcomes:
        yield _result_of(outcome, items[outcome.name])
        progress.advance("extract", items[outcome.name].num_clips, outcome.name)


def _result_of(outcome: Outcome, work: ShardWork) -> ShardDone | _Failed:
    if outcome.failure or outcome.result is None:
        failure = outcome.failure
        why = f"{failure.code}: {failure.detail}" if failure else "no result"
        return _Failed(partition=work.partition, detail=f"{outcome.name}: {why}")
    return decode(ShardDone, outcome.result)
