"""Make the features that a plan names: shards on the engine, then the commit of every whole partition."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmpipe.config import Config
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ShardError
from mmpipe.features.extractor import feature_name
from mmpipe.steps.commit import CommitReport, commit_features
from mmpipe.steps.feature_set import resolve_features
from mmpipe.steps.plan import Plan, ShardDue
from mmpipe.steps.progress import SILENT, Progress
from mmpipe.steps.shard_plan import plan_works
from mmpipe.steps.shard_work import ShardDone, ShardWork
from mmpipe.steps.wire import decode
from mmpipe.steps.workers import shared_engine
from mmpipe.store.layout import create_store
from mmpipe.store.lease import Lease
from mmpipe.store.schema import freeze_schema

FUNCTION = "mmpipe.steps.extract_shard:extract_shard"


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
    works = plan_works(config, layout, corpus, shards, extractors)
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
