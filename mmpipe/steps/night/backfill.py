"""Bring a range of dates up to the config of today, without an orchestrator."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mmpipe.config import Config
from mmpipe.engine.engine import Engine
from mmpipe.errors import HeldError, MmpipeError, PartialError, ShardError
from mmpipe.sources.listing import list_corpus
from mmpipe.steps.extract.beside_others import extract_beside_others
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.watching import watch_stage
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.intake import ListFiles, Look, look_at_corpus
from mmpipe.steps.night.backfill_plan import Choice, dates_of_range, dates_with_new_files, plan_choice
from mmpipe.steps.plan.choices import Only
from mmpipe.steps.plan.patience import NO_PATIENCE, Patience, do_when_free
from mmpipe.steps.plan.plan import Plan
from mmpipe.steps.plan.standing import SKIPPED, DayStanding, feature_columns, read_standing, standing_notes
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.watch.stage import Stage

NOTHING, WOULD_RUN = "nothing to do", "would run"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReport:
    """What a backfill made of one date."""

    dt: str
    state: str  # NOTHING, WOULD_RUN, "done" or "failed"
    shards: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillReport:
    """What a backfill made of its dates, and how they stand now."""

    corpus: str
    days: tuple[DayReport, ...]
    standing: tuple[DayStanding, ...]  # of the same dates

    def table(self) -> list[dict[str, Any]]:
        """Return one row per date: what was done, the state of every feature, and what is put aside."""
        standing = {day.dt: day for day in self.standing}
        features = feature_columns(self.standing)
        return [
            {"dt": day.dt, "state": _word(day, standing[day.dt]), "shards": day.shards}
            | standing[day.dt].cells(features)
            | {"detail": day.detail}
            for day in self.days
        ]

    def notes(self) -> tuple[str, ...]:
        """Say what stands against the dates, and the way out; of what would run only a run can say it."""
        days = {day.dt for day in self.days if day.state != WOULD_RUN}
        return standing_notes(self.corpus, [day for day in self.standing if day.dt in days], "--only {}")

    def raise_if_failed(self) -> None:
        """Raise ShardError that names the dates which failed."""
        failed = [day.dt for day in self.days if day.state == "failed"]
        if failed:
            raise ShardError(
                f"{len(failed)} of {len(self.days)} dates failed: {', '.join(failed)}. Run the same again."
            )


def _word(day: DayReport, standing: DayStanding) -> str:
    """Say what became of a date; where nothing was to be done, that alone only where it is whole."""
    return standing.word if day.state == NOTHING and standing.word != SKIPPED else day.state


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
    *,
    force: bool = False,
    max_in_flight: int = 1,
    patience: Patience = NO_PATIENCE,
) -> BackfillReport:
    """Ingest and extract every date of a range that the ledger says is due; a failed date stops no other.

    The corpus's folder is listed once for the whole range. Of several dates at once one ingests and the others extract,
    all on one pool of workers. What others hold is waited for as long as the patience lasts, for all dates together.
    """
    whole = _Range(
        config=config,
        corpus=corpus,
        dates=dates_of_range(first, last),
        choice=Choice(only=only, features=tuple(features or ()), force=force),
        list_files=list_files,
        progress=progress,
        dry_run=dry_run,
        patience=patience.of_run(),
    )
    if dry_run:
        return _report(whole, [_fill(whole, dt, progress) for dt in whole.dates])
    with watch_stage(config, Stage.BACKFILL, corpus=corpus, dates=whole.dates) as stage:
        with shared_engine(config) as engine:
            if max_in_flight == 1:
                days = tuple(_fill(whole, dt, progress) for dt in whole.dates)
            else:
                days = tuple(_fill_at_once(whole, engine, max_in_flight))
        stage.count(days=len(days), failed=sum(day.state == "failed" for day in days))
    return _report(whole, days)


@dataclass(slots=True, kw_only=True)
class _Range:
    """The folder of a whole range, listed once, and its plan, read once and again after each ingest."""

    config: Config
    corpus: str
    dates: tuple[str, ...]
    choice: Choice
    list_files: ListFiles
    progress: Progress
    dry_run: bool
    patience: Patience  # of all dates
    turn: threading.Lock = field(default_factory=threading.Lock)  # of the one date that ingests or plans
    files: Look | None = None
    due: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None

    def look(self) -> Look:
        """Return what lies in the folder."""
        if self.files is None:
            self.files = look_at_corpus(
                self.config, self.corpus, self.list_files, self.progress, refresh=not self.dry_run
            )
            self.due = dict(dates_with_new_files(self.config, self.corpus, self.dates, self.files))
        return self.files

    def new_files(self, dt: str) -> str:
        """Say why a date is to be ingested, "" where it is not."""
        if not self.choice.takes_new_files:
            return ""
        self.look()
        return self.due.get(dt, "")

    def of_date(self, dt: str) -> Plan:
        """Return what is due of a date."""
        if self.plan is None:
            self.plan = plan_choice(self.config, self.corpus, self.dates, self.choice)
        return self.plan.of_date(dt)


def _report(whole: _Range, days: Sequence[DayReport]) -> BackfillReport:
    standing = read_standing(whole.config, whole.corpus, whole.dates, whole.choice.features)
    return BackfillReport(corpus=whole.corpus, days=tuple(days), standing=standing)


def _fill_at_once(whole: _Range, engine: Engine, max_in_flight: int) -> Iterator[DayReport]:
    """Yield what became of each date, in order; an interruption ends the work of all."""
    with ThreadPoolExecutor(max_in_flight) as pool:
        days = [pool.submit(copy_context().run, _fill, whole, dt, _OfDate(whole.progress, dt)) for dt in whole.dates]
        try:
            for day in days:
                yield day.result()
        except BaseException:
            whole.patience.end()
            pool.shutdown(wait=False, cancel_futures=True)
            engine.cancel()
            raise


@dataclass(frozen=True, slots=True)
class _OfDate:
    """Tells how far one of several dates has come."""

    progress: Progress
    dt: str

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of the date."""
        self.progress.start(f"{stage} {self.dt}", total)

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Report units done."""
        self.progress.advance(f"{stage} {self.dt}", units, note)


def _fill(whole: _Range, dt: str, progress: Progress) -> DayReport:
    detail = ""
    try:
        if whole.dry_run and (new_files := whole.new_files(dt)):
            return DayReport(dt=dt, state=WOULD_RUN, shards=0, detail=new_files)
        detail, plan = do_when_free(partial(_take_turn, whole, dt, progress), whole.patience)
        shards = len(plan.shards)
        if whole.dry_run or (plan.is_empty and not plan.running):
            state = WOULD_RUN if shards else "failed" if detail else NOTHING
            return DayReport(dt=dt, state=state, shards=shards, detail=detail)
        again = partial(plan_choice, whole.config, whole.corpus, (dt,), whole.choice)
        extract_beside_others(whole.config, plan, again, whole.patience, progress)
    except MmpipeError as error:
        return DayReport(dt=dt, state="failed", shards=0, detail=str(error))
    return DayReport(dt=dt, state="failed" if detail else "done", shards=shards, detail=detail)


def _take_turn(whole: _Range, dt: str, progress: Progress) -> tuple[str, Plan]:
    """Ingest a date that has new files, and plan it; return also what is wrong with what was taken in.

    HeldError: somebody else ingests. The turn is given back, so that dates without new files go on meanwhile.
    """
    with whole.turn:
        whole.patience.raise_if_ended()
        detail = _take_in(whole, dt, progress) if whole.new_files(dt) else ""
        return detail, whole.of_date(dt)


def _take_in(whole: _Range, dt: str, progress: Progress) -> str:
    """Ingest a date; return what is wrong where too much is in quarantine: what is good goes on."""
    look, planned = whole.look(), whole.plan
    whole.plan = None  # an ingest may touch other dates too
    try:
        ingest_corpus(whole.config, whole.corpus, dt, progress, look)
    except HeldError:
        whole.plan = planned  # it has touched none
        raise
    except PartialError as error:
        return str(error)
    return ""
