"""Backfill: bring a range of dates up to the config of today, a run a day; its own death costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.backfill_day import backfill_day
from flows.days import DayEnd, days_table, days_to_fill, end_of_days, end_of_dry_run
from flows.fan_out import FanOut, run_children
from flows.life import end_children, open_runs, refuse_endless_starts
from flows.naming import run_name
from flows.parameters import BackfillDayParameters, BackfillParameters
from flows.runs import Child, Run, Runs
from flows.target import resolve_corpus
from mmpipe.config import Config
from tasks.artifacts import RunPage, run_page
from tasks.ingest import one_look
from tasks.plan import DayDue, plan_backfill, read_standing
from tasks.workers import shared_workers

DAY = "backfill-day/backfill-day"


@flow(name="backfill", flow_run_name=run_name, persist_result=False, on_cancellation=[end_children])
def backfill(parameters: BackfillParameters) -> State[Any]:
    """Fill what the ledger says is due in a range of dates; a failed day keeps no other from being filled."""
    refuse_endless_starts()
    config, corpus = resolve_corpus(parameters)
    with run_page("backfill", corpus) as page:
        runs = open_runs()
        due = plan_backfill(config, corpus, parameters.dts, parameters.choice, refresh=not parameters.dry_run)
        if parameters.dry_run:
            ends = {day.dt: DayEnd(run="would run", detail=day.reason) for day in due}
        elif runs:
            ends = fill_by_runs(parameters, corpus, due, runs, page)
        else:
            ends = fill_here(parameters, config, corpus, due)
        days = read_standing(config, corpus, parameters.dts, parameters.features)
        page.rows.extend(days_table(days, ends))
        end = end_of_dry_run(corpus, days, ends) if parameters.dry_run else end_of_days(corpus, days, ends)
        page.note("days", end.message or "")
    return end


def fill_by_runs(
    parameters: BackfillParameters, corpus: str, due: Sequence[DayDue], runs: Runs, page: RunPage
) -> dict[str, DayEnd]:
    """Start a run a day, and wait for all of them: also for those that an earlier life of this run has started."""
    takes_new_files = parameters.choice.takes_new_files
    days = days_to_fill(parameters.dts, due, runs.children(), takes_new_files=takes_new_files)
    children = [day_child(parameters, corpus, dt, ingest=ingest) for dt, ingest in days.items()]
    page.bars.start("days", len(days))
    over: set[str] = set()

    def tell(course: FanOut) -> None:
        for dt in sorted((course.over.keys() & days.keys()) - over):
            over.add(dt)
            page.bars.advance("days", 1, f"{dt} {course.over[dt].state}")

    ends = run_children(children, runs, max_in_flight=parameters.max_in_flight, keep_complete=True, tell=tell)
    return {dt: end_of_run(run) for dt, run in sorted(ends.items())}


def day_child(parameters: BackfillParameters, corpus: str, dt: str, *, ingest: bool) -> Child:
    """Return the run that fills a date."""
    day = day_parameters(parameters, corpus, dt, ingest=ingest)
    return Child(subject=dt, deployment=DAY, corpus=corpus, parameters=day)


def day_parameters(parameters: BackfillParameters, corpus: str, dt: str, *, ingest: bool) -> BackfillDayParameters:
    """Return what the run of a date is told."""
    return BackfillDayParameters(
        config=parameters.config,
        corpus=corpus,
        date=date.fromisoformat(dt),
        only=parameters.only,
        features=parameters.features,
        force=parameters.force,
        batch_clips=parameters.batch_clips,
        ingest=ingest,
    )


def end_of_run(run: Run) -> DayEnd:
    """Return how the run of a day ended; why, where that was not well."""
    return DayEnd(run=run.state, detail="" if run.is_complete else run.message, is_well=run.is_complete)


def fill_here(parameters: BackfillParameters, config: Config, corpus: str, due: Sequence[DayDue]) -> dict[str, DayEnd]:
    """Fill the days in this process, on one pool of workers: no deployment started this run."""
    ingests = {day.dt: bool(day.new_files) for day in due}

    def fill(dt: str) -> DayEnd:
        end = backfill_day(day_parameters(parameters, corpus, dt, ingest=ingests[dt]), return_state=True)
        return DayEnd(run=end.name or "", detail=end.message or "", is_well=end.is_completed())

    with shared_workers(config), one_look(config):
        return run_days(list(ingests), fill, parameters.max_in_flight)


def run_days(days: Sequence[str], run_day: Callable[[str], DayEnd], max_in_flight: int) -> dict[str, DayEnd]:
    """Run the days, so many at once; each thread keeps the context that ties its subflow to this run."""
    pool = ThreadPoolExecutor(max_in_flight)
    try:
        futures = {dt: pool.submit(copy_context().run, run_day, dt) for dt in days}
        return {dt: future.result() for dt, future in futures.items()}
    finally:
        pool.shutdown(cancel_futures=True)  # a cancelled run starts no further day
