"""The commit of many dates in few tasks: a night may touch hundreds."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.extract.commit import CommitReport
from tasks.extract import commit_features
from tasks.policy import STEP

MAX_COMMITS = 30  # task runs


def commit_tasks(dts: Sequence[str], most: int = MAX_COMMITS) -> tuple[tuple[str, ...], ...]:
    """Deal dates to so many tasks at most: one date each while there are few."""
    each = max(1, -(-len(dts) // most))
    return tuple(tuple(dts[first : first + each]) for first in range(0, len(dts), each))


@task(name="commit", task_run_name="commit-{corpus}-{dts[0]}", **STEP)
def commit_dates(config: Config, corpus: str, dts: Sequence[str]) -> CommitReport:
    """Make the finished shards of some dates visible, date by date."""
    reports = [commit_features.fn(config, corpus, dt) for dt in dts]
    return CommitReport(corpus=corpus, features=tuple(count for report in reports for count in report.features))
