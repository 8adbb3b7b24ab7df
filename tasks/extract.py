"""Extraction as a task: a batch of shards."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.errors import HeldError, ShardError
from mmpipe.steps.extract import extract
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.plan.plan import ShardDue
from mmpipe.steps.speed import speed_shown
from tasks.artifacts import open_page, progress_here
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


def tell_speed(reports: Sequence[ExtractReport]) -> str:
    """Say how close the batches of a run came to what their machine can do; arithmetic, so no task of its own."""
    return speed_shown.speed_summary(reports)
