"""The report of a night as a task."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from mmpipe.config import Config
from mmpipe.steps import report
from tasks.policy import STEP


@task(name="report", task_run_name="report-{corpus}-{dt}", **STEP)
def write_report(config: Config, corpus: str, dt: str, model: str = "", checkpoint: str = "") -> Path:
    """Write the page that says what a night did and what its model is worth."""
    return report.write_report(config, corpus, dt, model, checkpoint)
