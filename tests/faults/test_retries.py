"""Tasks are tried again with growing pauses, not all at one moment, and only for what retrying can cure."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from prefect import Task

import tasks
from tasks.policy import STEP


def all_tasks() -> list[Task[..., Any]]:
    modules = [importlib.import_module(entry.name) for entry in pkgutil.walk_packages(tasks.__path__, "tasks.")]
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Task)}
    return list(found.values())


def test_pauses_grow_and_vary() -> None:
    pauses = STEP["retry_delay_seconds"]
    assert pauses == sorted(set(pauses))
    assert 0 < STEP["retry_jitter_factor"] < 1


def test_there_are_tasks() -> None:
    assert len(all_tasks()) >= 8


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: f"{task.fn.__module__}.{task.fn.__name__}")
def test_every_task_is_tried_again_by_the_one_policy(task: Task[..., Any]) -> None:
    assert task.retry_jitter_factor == STEP["retry_jitter_factor"]
    assert task.retry_condition_fn is STEP["retry_condition_fn"]
    assert task.retry_delay_seconds == STEP["retry_delay_seconds"]
