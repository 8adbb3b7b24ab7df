"""Evaluation, gate and publication as a task."""

from __future__ import annotations

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.release import release
from mmpipe.steps.release.published_plots import read_plots
from mmpipe.steps.release.release import ReleaseReport
from tasks.artifacts import open_page
from tasks.events import tell_of_refusal
from tasks.policy import STEP

__all__ = ["ReleaseReport", "release_model"]


@task(name="release", task_run_name="release-{model}", **STEP)
def release_model(config: Config, model: str, checkpoint: str) -> ReleaseReport:
    """Publish a version of the model with the gate's verdict on it."""
    report = release.release_model(config, model, checkpoint)
    tell_of_refusal(report)
    if page := open_page():
        page.show_release(report)
        with page.looking_at("plots"):
            page.show_plots(report.model, read_plots(config, report.model, report.version))
    return report
