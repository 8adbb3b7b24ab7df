"""What all tasks have in common: when they are tried again, and that Prefect remembers nothing for them."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from mmpipe.errors import HeldError, TransientError

DELAYS_S = (2, 15, 60)  # before the second try, the third, and all after that
MOST_TRIES = 3  # of what is wrong with the moment
MOST_WAITS = 120  # of a minute each, for what somebody alive is at work on: an ingest or a training may take hours


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Say whether a failed task may be tried again: only where nothing is wrong but the moment."""
    if isinstance(state.data, HeldError):
        return True  # who holds it lives: it is worth waiting for, hours if need be
    return isinstance(state.data, TransientError) and task_run.run_count < MOST_TRIES


# The store's manifests say what is done; a cache of Prefect's would be a second truth, blind to lost bytes.
STEP: dict[str, Any] = {
    "retries": MOST_WAITS,
    "retry_delay_seconds": list(DELAYS_S),
    # What failed together, as all batches do when a disk or a server stalls, must not come back together.
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
