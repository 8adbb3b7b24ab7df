"""Extraction as tasks: a batch of shards, and the commit of a date."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.steps import commit, extract, speed_shown
from mmpipe.steps.commit import CommitReport
from mmpipe.steps.extract import ExtractReport
from mmpipe.steps.plan import ShardDue
from tasks.policy import STEP


@task(name="extract", task_run_name="extract-{corpus}", **STEP)
def extract_shards(config: Config, corpus: str, shards: Sequence[ShardDue]) -> ExtractReport:
    """Make the features of a batch of shards: each asset is decoded once."""
    return extract.extract_shards(config, corpus, shards)


@task(name="commit", task_run_name="commit-{corpus}-{dt}", **STEP)
def commit_features(config: Config, corpus: str, dt: str) -> CommitReport:
    """Make the finished shards of a date visible, all at once."""
    return commit.commit_alone(config, corpus, dt)


def tell_speed(reports: Sequence[ExtractReport]) -> str:
    """Say how close the batches of a run came to what their machine can do; arithmetic, so no task of its own."""
    return speed_shown.speed_summary(reports)
