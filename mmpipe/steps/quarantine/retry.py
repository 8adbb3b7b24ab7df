"""Try again what is in quarantine: files are probed anew whatever is known of them, clips are extracted anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from mmpipe.config import Config, DateRule
from mmpipe.errors import ConfigError, PartialError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.scan import forget_in_scan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.choices import Only
from mmpipe.steps.plan.plan import Plan, ShardDue, plan_corpus
from mmpipe.steps.plan.today import date_now
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import QUARANTINE, SURVEYS, StoreLayout, open_store
from mmpipe.store.quarantine import EXTRACTION, INGEST, THING, count_attempt, read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.store.surveys import drop_surveys, read_surveys

EXTRACT_STAGE = "extract"
_NEVER_TRIED = ("duplicate",)  # nothing is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """One row of the quarantine, and what it is now."""

    partition: str
    stage: str
    code: str
    what: str  # file, clip key or source id
    now: str  # "good", or the code that it has now


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryReport:
    """What became of the rows that were tried again; of a dry run: which would be."""

    corpus: str
    rows: tuple[Retried, ...]

    @property
    def num_cured(self) -> int:
        """Return how many rows left the quarantine."""
        return sum(row.now == "good" for row in self.rows)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per thing."""
        return [
            {"dt": row.partition, "stage": row.stage, "code": row.code, "what": row.what, "now": row.now}
            for row in self.rows
        ]


def retry_quarantined(
    config: Config,
    corpus: str,
    *,
    code: str | None = None,
    file: str | None = None,
    stage: str | None = None,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> RetryReport:
    """Try the rows again that have this code, file and stage, and count the attempt on those that stay.

    ConfigError: no row is like that. PartialError, when all is done: too much is still in quarantine.
    """
    layout = open_store(config.store, to_write=not dry_run)
    rows = choose_rows(layout, corpus, code=code, file=file, stage=stage)
    if dry_run:
        return RetryReport(corpus=corpus, rows=tuple(_told(rows, "would be tried")))
    before = rows.filter(pl.col("stage") != EXTRACT_STAGE)
    with shared_engine(config):
        partial = ingest_again(config, layout, corpus, before, progress) if len(before) else None
        extract_again(config, layout, corpus, rows.filter(pl.col("stage") == EXTRACT_STAGE), progress)
    _count(layout, corpus, rows)
    if partial:
        raise partial
    return RetryReport(corpus=corpus, rows=tuple(_outcomes(layout, corpus, rows)))


def choose_rows(
    layout: StoreLayout, corpus: str, *, code: str | None = None, file: str | None = None, stage: str | None = None
) -> pl.DataFrame:
    """Return the rows that can be tried again; ConfigError where none is as asked."""
    rows = read_quarantine(layout, corpus).filter(~pl.col("kept") & ~pl.col("code").is_in(_NEVER_TRIED))
    wanted = {"code": code, "file": file, "stage": stage}
    chosen = rows
    for name, value in wanted.items():
        chosen = chosen if value is None else chosen.filter(pl.col(name) == value)
    if chosen.is_empty() and any(value is not None for value in wanted.values()):
        asked = ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value is not None)
        there = ", ".join(rows["code"].unique().sort()) or "nothing"
        raise ConfigError(f"the quarantine of {corpus!r} has nothing to try again with {asked}; codes there: {there}")
    return chosen


def ingest_again(
    config: Config, layout: StoreLayout, corpus: str, rows: pl.DataFrame, progress: Progress = SILENT
) -> PartialError | None:
    """Ingest the dates of some rows with nothing known of their files; return what the run had to say at its end."""
    forget_looks(layout, corpus, rows)
    partial = None
    for dt in _dates(config, corpus, rows):
        try:
            ingest_corpus(config, corpus, dt, progress)
        except PartialError as error:
            partial = error
    return partial


def forget_looks(layout: StoreLayout, corpus: str, rows: pl.DataFrame) -> None:
    """Forget what is known of the files of some rows: the next ingest, whoever runs it, looks at them anew."""
    files = [name for name in rows["file"].unique() if name]
    digests = {sha256 for sha256 in rows["file_sha256"] if sha256}
    forget_in_scan(layout.runs / f"scan-{corpus}.parquet", files, digests)
    _forget_surveys(layout, corpus, digests)


def _dates(config: Config, corpus: str, rows: pl.DataFrame) -> Sequence[str]:
    """Return the dates to ingest: where first seen sticks, one run looks at all of them."""
    _, source = config.corpus(corpus)
    if source.dates.rule is DateRule.FIRST_SEEN:
        return (date_now(config),)
    return rows["partition"].unique().sort().to_list()


def _forget_surveys(layout: StoreLayout, corpus: str, digests: set[str]) -> None:
    broken = {key for key, record in read_surveys(layout, corpus).items() if digests & set(record.faults)}
    dataset = layout.dataset(corpus, SURVEYS)
    for partition in dataset.partitions() if broken else ():
        drop_surveys(dataset, partition, broken)


def extract_again(
    config: Config, layout: StoreLayout, corpus: str, rows: pl.DataFrame, progress: Progress = SILENT
) -> None:
    """Make the shards again that lack these values; what they have is copied."""
    if rows.is_empty():
        return
    partitions = rows["partition"].unique().sort().to_list()
    places = read_spine(layout, corpus, partitions).select("partition", "shard", clip_key="key")
    wanted = set(
        rows.join(places, on=["partition", "clip_key"]).select("partition", "shard", "feature").unique().iter_rows()
    )
    plan = plan_corpus(config, corpus, partitions, Only.FAILED)
    extract_plan(config, replace(plan, shards=_of_places(plan, wanted), running=()), progress)


def extract_anew(
    config: Config,
    corpus: str,
    places: Collection[tuple[str, int, str]],
    streams: Collection[str],
    progress: Progress = SILENT,
) -> None:
    """Make (partition, shard, feature) again: values of these streams, by digest, from the media, all others copied."""
    if not places:
        return
    partitions, anew = sorted({partition for partition, _, _ in places}), tuple(sorted(streams))
    due = plan_corpus(config, corpus, partitions)  # the next run makes these, by what holds then
    later = {(shard.partition, shard.shard, name) for shard in due.shards for name in shard.features}
    plan = plan_corpus(config, corpus, partitions, Only.ALL, force=True)
    shards = tuple(replace(shard, reuse=True, anew=anew) for shard in _of_places(plan, set(places) - later))
    extract_plan(config, replace(plan, shards=shards, running=()), progress)


def _of_places(plan: Plan, wanted: set[tuple[str, int, str]]) -> tuple[ShardDue, ...]:
    """Return of a plan what makes (partition, shard, feature)."""
    shards = []
    for due in plan.shards:
        others = {(due.partition, due.shard, name) for name in due.features} - wanted
        left = due.without(others)
        shards += [left] if left.features else []
    return tuple(shards)


def _count(layout: StoreLayout, corpus: str, rows: pl.DataFrame) -> None:
    """Count the attempt on every row that is still there."""
    dataset = layout.dataset(corpus, QUARANTINE)
    extraction = pl.col("stage") == EXTRACT_STAGE
    for number, stage in ((INGEST, ~extraction), (EXTRACTION, extraction)):
        still = rows.filter(stage).join(read_quarantine(layout, corpus), on=["partition", *THING], how="semi")
        for (partition,), group in sorted(still.partition_by("partition", as_dict=True).items()):
            count_attempt(dataset, str(partition), number, group)


def _outcomes(layout: StoreLayout, corpus: str, rows: pl.DataFrame) -> Iterable[Retried]:
    same = ["partition", "file", "source_id", "clip_key", "feature"]
    now: dict[tuple[Any, ...], str] = {}
    for row in read_quarantine(layout, corpus).filter(~pl.col("kept")).iter_rows(named=True):
        now[tuple(row[name] for name in same)] = row["code"]
    for row in rows.iter_rows(named=True):
        yield _retried(row, now.get(tuple(row[name] for name in same), "good"))


def _told(rows: pl.DataFrame, now: str) -> Iterable[Retried]:
    for row in rows.iter_rows(named=True):
        yield _retried(row, now)


def _retried(row: dict[str, Any], now: str) -> Retried:
    what = row["file"] if row["stage"] != EXTRACT_STAGE else f"{row['clip_key']} {row['feature']}"
    return Retried(
        partition=row["partition"],
        stage=row["stage"],
        code=row["code"],
        what=what or row["clip_key"] or row["source_id"],
        now=now,
    )
