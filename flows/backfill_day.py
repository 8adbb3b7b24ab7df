"""One day of a backfill: a run of its own, which a person may retry alone."""

from __future__ import annotations

from prefect import flow

from flows.extract import BATCH_RUNNER, make_features
from flows.ingest import take_in
from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import BackfillDayParameters
from flows.target import Target, resolve_corpus
from tasks.artifacts import run_page
from tasks.workers import shared_workers


@flow(
    name="backfill-day",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
)
def backfill_day(parameters: BackfillDayParameters) -> None:
    """Take in the new files of one date, then make what is due; what an earlier try has made is not made again."""
    refuse_endless_starts()
    config, corpus = resolve_corpus(parameters)
    target = Target(config=config, corpus=corpus, dt=parameters.date.isoformat())
    with run_page("backfill-day", corpus) as page, shared_workers(config):
        too_many = take_in(target, page) if parameters.ingest else None
        # What is good gets its features also where too much is in quarantine.
        make_features(config, corpus, (target.dt,), page, parameters.choice, parameters.batch_clips)
        if too_many:
            raise too_many
