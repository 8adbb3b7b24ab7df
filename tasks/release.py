"""Evaluation, gate and publication as a task."""

from __future__ import annotations

from prefect import task

from mmpipe.config import Config
from mmpipe.steps import release
from mmpipe.steps.release import ReleaseReport
from tasks.policy import STEP

__all__ = ["ReleaseReport", "release_model"]


@task(name="release", task_run_name="release-{model}", **STEP)
def release_model(config: Config, model: str, checkpoint: str) -> ReleaseReport:
    """Publish a version of the model with the gate's verdict on it."""
    return release.release_model(config, model, checkpoint)
