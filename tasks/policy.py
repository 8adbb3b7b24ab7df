"""What all tasks have in common: when they are tried again, and that Prefect remembers nothing for them."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from mmpipe.errors import TransientError


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Say whether a failed task may be tried again: only where nothing is wrong but the moment."""
    return isinstance(state.data, TransientError)


# The store's manifests say what is done; a cache of Prefect's would be a second truth, blind to lost bytes.
STEP: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [2, 15],
    "retry_condition_fn": is_transient,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
