"""How fresh the features of a corpus are, as a task."""

from __future__ import annotations

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.plan import status
from mmpipe.steps.plan.status import Status
from tasks.events import tell_of_late
from tasks.policy import STEP

__all__ = ["Status", "check_freshness"]


@task(name="freshness", task_run_name="freshness-{corpus}", **STEP)
def check_freshness(config: Config, corpus: str) -> Status:
    """Read how old the newest whole date of every feature is, and tell of those that are late."""
    found = status.read_status(config, corpus)
    tell_of_late(corpus, {fresh.feature: found.sentence(fresh) for fresh in found.late()})
    return found
