"""Backfill: bring a range of dates up to the config of today, one subflow a day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.days import days_table, days_to_do, takes_unknown_days
from flows.extract import BATCH_RUNNER, make_features
from flows.naming import run_name
from flows.parameters import BackfillParameters, ExtractParameters
from flows.target import resolve_corpus, resolve_target
from mmpipe.config import Config
from tasks.artifacts import RunPage, run_page
from tasks.ingest import ingest_corpus, one_look
from tasks.plan import plan_corpus, read_states
from tasks.workers import shared_workers


@flow(name="backfill", flow_run_name=run_name, persist_result=False)
def backfill(parameters: BackfillParameters) -> State[Any]:
    """Fill what the ledger says is due in a range of dates; a failed day keeps no other from being filled."""
    config, corpus = resolve_corpus(parameters)
    states = read_states(config, corpus, parameters.dts)
    due = plan_corpus(config, corpus, parameters.dts, parameters.only).partitions
    days = days_to_do(parameters.dts, states, due, parameters.only)
    with run_page("backfill", corpus) as page:
        if parameters.dry_run:
            show_days(config, corpus, parameters.dts, page, dict.fromkeys(days, "would run"))
            return Completed(message=f"dry run: {len(days)} of {len(parameters.dts)} days would run")
        with shared_workers(config), one_look(config):
            ends = run_days(days, lambda dt: fill_one(parameters, corpus, dt), parameters.max_in_flight)
        show_days(config, corpus, parameters.dts, page, {dt: end.name or "" for dt, end in ends.items()})
    return end_of_days(len(parameters.dts), ends)


@flow(
    name="backfill-day",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
)
def backfill_day(parameters: ExtractParameters) -> None:
    """Ingest one date where the choice of shards asks for it, then make what is due."""
    target = resolve_target(parameters)
    with run_page("backfill-day", target.corpus) as page, shared_workers(target.config):
        if takes_unknown_days(parameters.only):
            page.add("ingest", ingest_corpus(target.config, target.corpus, target.dt))
        make_features(target.config, target.corpus, (target.dt,), page, parameters.only, parameters.batch_clips)


def fill_one(parameters: BackfillParameters, corpus: str, dt: str) -> State[Any]:
    """Run one day as a subflow and return how it ended, good or bad."""
    day = ExtractParameters(
        config=parameters.config,
        corpus=corpus,
        date=date.fromisoformat(dt),
        only=parameters.only,
        batch_clips=parameters.batch_clips,
    )
    return backfill_day(day, return_state=True)


def run_days(days: Sequence[str], run_day: Callable[[str], State[Any]], max_in_flight: int) -> dict[str, State[Any]]:
    """Run the days, so many at once; each thread keeps the context that ties its subflow to this run."""
    pool = ThreadPoolExecutor(max_in_flight)
    try:
        futures = {dt: pool.submit(copy_context().run, run_day, dt) for dt in days}
        return {dt: future.result() for dt, future in futures.items()}
    finally:
        pool.shutdown(cancel_futures=True)  # a cancelled run starts no further day


def show_days(config: Config, corpus: str, dts: Sequence[str], page: RunPage, runs: Mapping[str, str]) -> None:
    """Put the table of days x features on the page, as the ledger has them now."""
    page.rows.extend(days_table(dts, read_states(config, corpus, dts), runs))
    page.note("days", f"{len(runs)} of {len(dts)} days had something due; the others are skipped.")


def end_of_days(num_days: int, ends: Mapping[str, State[Any]]) -> State[Any]:
    """Fail where a day failed, naming the days; else complete."""
    failed = [dt for dt, end in ends.items() if not end.is_completed()]
    skipped = num_days - len(ends)
    if failed:
        return Failed(message=f"{len(failed)} of {num_days} days failed: {', '.join(failed)}; {skipped} skipped")
    return Completed(message=f"{len(ends)} days filled, {skipped} skipped")
