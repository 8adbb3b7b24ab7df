"""The wait for other runs that make the same shards, as a task: the page shows it as what it is."""

from __future__ import annotations

from collections.abc import Collection

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.plan import patience
from mmpipe.steps.plan.patience import waiting_line
from tasks.policy import STEP

__all__ = ["wait_for_others", "waiting_line"]


@task(name="wait", task_run_name="wait-{corpus}", **STEP | {"retries": 0})
def wait_for_others(config: Config, corpus: str, places: Collection[tuple[str, int]]) -> None:
    """Return once somebody who makes one of the shards is done with it; HeldError after hours without that."""
    patience.wait_for_others(config, corpus, places)
