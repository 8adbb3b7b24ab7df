"""Extraction as tasks: a batch of shards, and the commit of a date."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.errors import HeldError, ShardError
from mmpipe.steps.extract import commit, extract
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.plan.committed import committed_partitions
from mmpipe.steps.plan.drift import drift_of_date
from mmpipe.steps.plan.plan import ShardDue, read_states
from mmpipe.steps.quarantine.quarantine_reasons import count_reasons
from mmpipe.steps.speed import speed_shown
from tasks.artifacts import open_page, progress_here
from tasks.assets import tell_materialized, tells_assets
from tasks.events import tell_of_drift
from tasks.policy import STEP


@task(name="extract", task_run_name="extract-{corpus}-{number}-of-{of}", **STEP)
def extract_shards(
    config: Config, corpus: str, shards: Sequence[ShardDue], number: int = 1, of: int = 1
) -> ExtractReport:
    """Make the features of a batch of shards, the so many-th of so many: each asset is decoded once."""
    page = open_page()
    try:
        report = extract.extract_shards(config, corpus, shards, progress_here())
    except HeldError as error:  # others make the rest of it: the run goes on with what is free, and waits at its end
        if not isinstance(error.report, ExtractReport):
            raise
        report = error.report
    except ShardError as error:
        if page and isinstance(error.report, ExtractReport):
            page.show_batch(number, of, shards, error.report)
        raise
    if page:
        page.show_batch(number, of, shards, report)
    return report


@task(name="commit", task_run_name="commit-{corpus}-{dt}", **STEP)
def commit_features(config: Config, corpus: str, dt: str) -> CommitReport:
    """Make the finished shards of a date visible, all at once."""
    before = committed_partitions(config, corpus, dt) if tells_assets() else ()
    report = commit.commit_alone(config, corpus, dt)
    if tells_assets():
        tell_materialized(set(committed_partitions(config, corpus, dt)) - set(before))
    if page := open_page():
        with page.looking_at("ledger"):
            page.show_ledger(read_states(config, corpus, (dt,)))
        with page.looking_at("quarantine"):
            page.show_quarantine(count_reasons(config, corpus, (dt,)))
    tell_of_drift(corpus, drift_of_date(config, corpus, dt))
    return report


def tell_speed(reports: Sequence[ExtractReport]) -> str:
    """Say how close the batches of a run came to what their machine can do; arithmetic, so no task of its own."""
    return speed_shown.speed_summary(reports)
