"""Make the features that a plan names: shards on the engine, then one commit per feature and partition."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ShardError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.steps.feature_set import resolve_features
from mmpipe.steps.plan import STREAM_COLUMNS, Plan, ShardDue, inputs_digest
from mmpipe.steps.progress import SILENT, Progress
from mmpipe.steps.replay import replay_command
from mmpipe.steps.reuse import find_reusable
from mmpipe.steps.shard_work import AssetWork, ClipWork, FeatureWork, ShardDone, ShardWork
from mmpipe.steps.wire import decode
from mmpipe.steps.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.layout import QUARANTINE, StoreLayout, create_store
from mmpipe.store.lease import Lease
from mmpipe.store.quarantine import EXTRACTION, write_quarantine
from mmpipe.store.receipt import Receipt, drop_receipts, read_receipt
from mmpipe.store.schema import freeze_schema, schema_digest
from mmpipe.store.spine import read_spine
from mmpipe.types import Asset, Clip

FUNCTION = "mmpipe.steps.extract_shard:extract_shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCount:
    """What became of one feature's clips in one partition."""

    partition: str
    feature: str
    shards: int
    written: int
    absent: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractReport:
    """What a batch of shards came to; nothing of it is visible before the commit."""

    corpus: str
    shards: int
    computed: int
    reused: int
    quarantined: Mapping[str, int]  # by reason
    seconds: float

    def summary(self) -> str:
        """Return a line of Markdown."""
        dropped = sum(self.quarantined.values())
        return (
            f"{self.shards} shards of `{self.corpus}`: {self.computed} values computed, {self.reused} reused, "
            f"{dropped} clips quarantined, {self.seconds:.1f} s"
        )

    def table(self) -> list[dict[str, Any]]:
        """Return rows of plain values."""
        return [{"what": f"quarantined: {code}", "count": count} for code, count in sorted(self.quarantined.items())]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReport:
    """What a partition's features hold after a commit."""

    corpus: str
    features: tuple[FeatureCount, ...] = field(default=())

    def summary(self) -> str:
        """Return a line of Markdown."""
        return f"{len(self.features)} features of `{self.corpus}` committed"

    def table(self) -> list[dict[str, Any]]:
        """Return one row per feature."""
        return [
            {
                "dt": count.partition,
                "feature": count.feature,
                "shards": count.shards,
                "written": count.written,
                "absent": count.absent,
                "quarantined": count.quarantined,
            }
            for count in self.features
        ]


def extract_plan(config: Config, plan: Plan, progress: Progress = SILENT) -> tuple[ExtractReport, CommitReport]:
    """Extract and commit everything that a plan names."""
    layout = create_store(config.store)
    with Lease.acquire(layout, f"extract-{plan.corpus}"):
        report, failed = _extract(config, plan.corpus, plan.shards, progress)
        counts = [
            count
            for partition in plan.partitions
            if all(failure.partition != partition for failure in failed)
            for count in commit_features(config, plan.corpus, partition).features
        ]
    _raise_failures(failed)
    return report, CommitReport(corpus=plan.corpus, features=tuple(counts))


def extract_shards(
    config: Config, corpus: str, shards: Sequence[ShardDue], progress: Progress = SILENT
) -> ExtractReport:
    """Make shards durable, each with a receipt; those that have one already are not made again.

    ShardError, after all the others are made: shards that could not be.
    """
    report, failed = _extract(config, corpus, shards, progress)
    _raise_failures(failed)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A shard that could not be made as a whole."""

    partition: str
    detail: str


def _extract(
    config: Config, corpus: str, shards: Sequence[ShardDue], progress: Progress
) -> tuple[ExtractReport, tuple[_Failed, ...]]:
    started = time.monotonic()
    layout = create_store(config.store)
    extractors = {feature_name(extractor): extractor for extractor in resolve_features(config, corpus)}
    for name in sorted({name for due in shards for name in due.features}):
        freeze_schema(layout.dataset(corpus, name), extractors[name].schema)
    works = [work for due in shards if (work := _plan_work(config, layout, corpus, due, extractors)).features]
    progress.start("extract", sum(work.num_clips for work in works))
    settled = list(_run_works(config, works, progress))
    done = [shard for shard in settled if isinstance(shard, ShardDone)]
    quarantined: dict[str, int] = {}
    for shard in done:
        for feature in shard.features:
            for drop in feature.drops:
                quarantined[drop.code] = quarantined.get(drop.code, 0) + 1
    report = ExtractReport(
        corpus=corpus,
        shards=len(done),
        computed=sum(shard.computed for shard in done),
        reused=sum(shard.reused for shard in done),
        quarantined=quarantined,
        seconds=time.monotonic() - started,
    )
    return report, tuple(shard for shard in settled if isinstance(shard, _Failed))


def _raise_failures(failed: Sequence[_Failed]) -> None:
    if failed:
        details = "\n".join(failure.detail for failure in failed)
        raise ShardError(f"{len(failed)} shards could not be made; run the same again for these alone:\n{details}")


def commit_features(config: Config, corpus: str, dt: str) -> CommitReport:
    """Commit every finished shard of a partition: one manifest per feature, the quarantine first."""
    layout = create_store(config.store)
    spine = read_spine(layout, corpus, (dt,))
    shards = {int(number): rows for (number,), rows in sorted(spine.partition_by("shard", as_dict=True).items())}
    found = [
        (extractor, _finished(layout, corpus, dt, extractor, shards)) for extractor in resolve_features(config, corpus)
    ]
    made = {feature_name(extractor): receipts for extractor, receipts in found if receipts}
    if made:
        # Before the features: a reader may see a reason without its gap, never a gap without its reason.
        _commit_drops(layout, corpus, dt, made, shards)
    return CommitReport(
        corpus=corpus,
        features=tuple(_commit(layout, corpus, dt, extractor, receipts) for extractor, receipts in found),
    )


def _commit_drops(
    layout: StoreLayout,
    corpus: str,
    dt: str,
    made: Mapping[str, Sequence[Receipt]],
    shards: Mapping[int, pl.DataFrame],
) -> None:
    """Put the drops of shards that were made in place of what their clips had before."""
    drops = [drop for receipts in made.values() for receipt in receipts for drop in receipt.drops]
    again = pl.lit(False)
    for feature, receipts in made.items():
        keys = [key for receipt in receipts for key in shards[receipt.entry.number]["key"]]
        again |= (pl.col("feature") == feature) & pl.col("clip_key").is_in(keys)
    dataset = layout.dataset(corpus, QUARANTINE)
    if drops or read_head(dataset, dt):
        write_quarantine(dataset, dt, EXTRACTION, drops, lambda drop: replay_command(corpus, dt, drop), keep=~again)


def _finished(
    layout: StoreLayout, corpus: str, dt: str, extractor: Extractor, shards: Mapping[int, pl.DataFrame]
) -> list[Receipt]:
    """Return the receipts of shards that wait for their commit."""
    dataset = layout.dataset(corpus, feature_name(extractor))
    notes = (
        read_receipt(dataset, dt, fingerprint(extractor), number, inputs_digest(rows, extractor.modality))
        for number, rows in shards.items()
    )
    return [note for note in notes if note]


def _commit(
    layout: StoreLayout, corpus: str, dt: str, extractor: Extractor, receipts: Iterable[Receipt]
) -> FeatureCount:
    dataset = layout.dataset(corpus, feature_name(extractor))
    entries = {receipt.entry.number: receipt.entry for receipt in receipts}
    head = read_head(dataset, dt)
    if entries:
        head = commit_partition(
            dataset,
            dt,
            schema=schema_digest(extractor.schema),
            fingerprint=fingerprint(extractor),
            shards=entries,
            then=lambda: write_card(dataset, extractor.schema),
        )
    shards = head.shards if head else ()
    return FeatureCount(
        partition=dt,
        feature=feature_name(extractor),
        shards=len(shards),
        written=sum(shard.samples for shard in shards),
        absent=sum(shard.absent for shard in shards),
        quarantined=sum(shard.quarantined for shard in shards),
    )


def _plan_work(
    config: Config, layout: StoreLayout, corpus: str, due: ShardDue, extractors: Mapping[str, Extractor]
) -> ShardWork:
    """Return what a worker must know to make a shard; features with a receipt are left out."""
    _, source = config.corpus(corpus)
    rows = read_spine(layout, corpus, (due.partition,)).filter(pl.col("shard") == due.shard).sort("ordinal")
    features = []
    for name in due.features:
        extractor = extractors[name]
        work = FeatureWork(
            extractor=extractor.name,
            params_json=json.dumps(config.features.get(extractor.name, {}), sort_keys=True),
            feature=name,
            fingerprint=fingerprint(extractor),
            inputs=inputs_digest(rows, extractor.modality),
        )
        if due.again:
            _forget(layout, corpus, due, work)
        if not read_receipt(layout.dataset(corpus, name), due.partition, work.fingerprint, due.shard, work.inputs):
            features.append(work)
    reused = [
        place
        for work in (features if due.reuse else ())
        for place in find_reusable(
            layout, corpus, work.feature, work.fingerprint, rows, STREAM_COLUMNS[extractors[work.feature].modality]
        )
    ]
    return ShardWork(
        store=layout.root,
        corpus=corpus,
        partition=due.partition,
        shard=due.shard,
        root=source.root,
        limits=source.limits,
        features=tuple(features),
        assets=_group_assets(rows, assets_of(read_assets(layout, corpus, (due.partition,)))),
        reused=tuple(reused),
        num_clips=rows.height,
    )


def _forget(layout: StoreLayout, corpus: str, due: ShardDue, work: FeatureWork) -> None:
    """Drop the receipt of a shard that is committed as it says: its commit was cut short, and it is to be made anew."""
    dataset = layout.dataset(corpus, work.feature)
    head = read_head(dataset, due.partition)
    receipt = read_receipt(dataset, due.partition, work.fingerprint, due.shard, work.inputs)
    if head and receipt and head.shard(due.shard) == receipt.entry:
        drop_receipts(dataset, due.partition, work.fingerprint, (receipt.entry,))


def _group_assets(rows: pl.DataFrame, found: Sequence[Asset]) -> tuple[AssetWork, ...]:
    """Join the clips of a shard with the files of their assets."""
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
        )
        for asset_id, group in clips.items()
    )


def _run_works(config: Config, works: Sequence[ShardWork], progress: Progress) -> Iterable[ShardDone | _Failed]:
    if not works:
        return
    items = {f"{work.corpus} dt={work.partition} shard {work.shard}": work for work in works}
    with shared_engine(config) as engine:
        outcomes = engine.run(
            FUNCTION,
            [
                WorkItem(name=name, payload=work, timeout_s=work.limits.seconds_per_asset)
                for name, work in items.items()
            ],
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
