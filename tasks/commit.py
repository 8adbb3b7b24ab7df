"""The commit of many dates in few tasks: a night may touch hundreds."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.extract import commit
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.ground.committed import committed_partitions
from mmpipe.steps.plan.drift import drift_of_date
from mmpipe.steps.plan.plan import read_states
from mmpipe.steps.quarantine.quarantine_reasons import count_reasons
from tasks.artifacts import open_page
from tasks.assets import tell_materialized, tells_assets
from tasks.events import tell_of_drift
from tasks.policy import STEP

MAX_COMMITS = 30  # task runs


def commit_tasks(dts: Sequence[str], most: int = MAX_COMMITS) -> tuple[tuple[str, ...], ...]:
    """Deal dates to so many tasks at most: one date each while there are few."""
    each = max(1, -(-len(dts) // most))
    return tuple(tuple(dts[first : first + each]) for first in range(0, len(dts), each))


@task(name="commit", task_run_name="commit-{corpus}-{dts[0]}", **STEP)
def commit_dates(config: Config, corpus: str, dts: Sequence[str]) -> CommitReport:
    """Make the finished shards of some dates visible, date by date, each of them all at once."""
    reports = [_commit_date(config, corpus, dt) for dt in dts]
    return CommitReport(corpus=corpus, features=tuple(count for report in reports for count in report.features))


def _commit_date(config: Config, corpus: str, dt: str) -> CommitReport:
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
