"""Bring a range of dates up to the config of today, without an orchestrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from mmpipe.config import Config
from mmpipe.errors import ConfigError, MmpipeError, PartialError, ShardError
from mmpipe.sources.listing import list_corpus
from mmpipe.steps.choices import Only
from mmpipe.steps.extract import extract_plan
from mmpipe.steps.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.intake import ListFiles, Look, look_at_corpus
from mmpipe.steps.plan import Plan, plan_corpus
from mmpipe.steps.progress import SILENT, Progress
from mmpipe.steps.workers import shared_engine

_TAKES_NEW_FILES = (Only.DUE, Only.MISSING, Only.ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReport:
    """What a backfill made of one date."""

    dt: str
    state: str  # "nothing to do", "would run", "done" or "failed"
    shards: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillReport:
    """What a backfill made of its dates."""

    days: tuple[DayReport, ...]

    def table(self) -> list[dict[str, Any]]:
        """Return one row per date."""
        return [{"dt": d.dt, "state": d.state, "shards": d.shards, "detail": d.detail} for d in self.days]

    def raise_if_failed(self) -> None:
        """Raise ShardError that names the dates which failed."""
        failed = [day.dt for day in self.days if day.state == "failed"]
        if failed:
            raise ShardError(
                f"{len(failed)} of {len(self.days)} dates failed: {', '.join(failed)}. Run the same again."
            )


def backfill_dates(
    config: Config,
    corpus: str,
    first: str,
    last: str,
    only: Only = Only.DUE,
    features: Sequence[str] | None = None,
    dry_run: bool = False,
    progress: Progress = SILENT,
    list_files: ListFiles = list_corpus,
) -> BackfillReport:
    """Ingest and extract every date of a range that the ledger says is due; a failed date stops no other.

    The corpus's folder is listed once for the whole range.
    """
    dates = dates_of_range(first, last)
    whole = _Range(
        config=config,
        corpus=corpus,
        dates=dates,
        only=only,
        features=features,
        list_files=list_files,
        progress=progress,
        dry_run=dry_run,
    )
    with shared_engine(config):
        days = [_fill(whole, dt, dry_run, progress) for dt in dates]
    return BackfillReport(days=tuple(days))


def dates_of_range(first: str, last: str) -> tuple[str, ...]:
    """Return every date from first to last, both included."""
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(f"a date is written 2026-11-20: {error}") from error
    if end < begin:
        raise ConfigError(f"the range ends on {last}, before it begins on {first}")
    return tuple((begin + timedelta(days=days)).isoformat() for days in range((end - begin).days + 1))


@dataclass(slots=True, kw_only=True)
class _Range:
    """The folder of a whole range, listed once, and its plan, read once and again after each ingest."""

    config: Config
    corpus: str
    dates: tuple[str, ...]
    only: Only
    features: Sequence[str] | None
    list_files: ListFiles
    progress: Progress
    dry_run: bool
    files: Look | None = None
    plan: Plan | None = None

    def look(self) -> Look:
        """Return what lies in the folder."""
        if self.files is None:
            self.files = look_at_corpus(
                self.config, self.corpus, self.list_files, self.progress, refresh=not self.dry_run
            )
        return self.files

    def of_date(self, dt: str) -> Plan:
        """Return what is due of a date."""
        if not self.config.store.exists():
            return Plan(corpus=self.corpus, shards=())
        if self.plan is None:
            self.plan = plan_corpus(self.config, self.corpus, self.dates, self.only, self.features)
        return self.plan.of_date(dt)


def _fill(whole: _Range, dt: str, dry_run: bool, progress: Progress) -> DayReport:
    config, corpus, detail = whole.config, whole.corpus, ""
    try:
        new_files = ingest_reason(config, corpus, dt, whole.look()) if whole.only in _TAKES_NEW_FILES else ""
        if new_files and dry_run:
            return DayReport(dt=dt, state="would run", shards=0, detail=new_files)
        if new_files:
            whole.plan = None  # an ingest may touch other dates too
            try:
                ingest_corpus(config, corpus, dt, progress, whole.look())
            except PartialError as error:
                detail = str(error)
        plan = whole.of_date(dt)
        shards = len(plan.shards)
        if dry_run or (plan.is_empty and not plan.running):
            state = "would run" if shards else "failed" if detail else "nothing to do"
            return DayReport(dt=dt, state=state, shards=shards, detail=detail)
        extract_plan(config, plan, progress)
    except MmpipeError as error:
        return DayReport(dt=dt, state="failed", shards=0, detail=str(error))
    return DayReport(dt=dt, state="failed" if detail else "done", shards=shards, detail=detail)
