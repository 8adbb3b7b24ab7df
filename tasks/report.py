"""The report of a night as a task."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.plan.plan import dates_between, read_states
from mmpipe.steps.tell import report
from tasks.artifacts import open_page
from tasks.policy import STEP

DAYS_SHOWN = 31


@task(name="report", task_run_name="report-{corpus}-{dt}", **STEP)
def write_report(config: Config, corpus: str, dt: str, model: str = "", checkpoint: str = "") -> Path:
    """Write the page that says what a night did and what its model is worth."""
    path = report.write_report(config, corpus, dt, model, checkpoint)
    if page := open_page():
        page.show_report(path, model)
        with page.looking_at("ledger"):
            newest = dates_between(config, corpus, None, None)[-DAYS_SHOWN:]
            page.show_ledger(read_states(config, corpus, newest))
    return path
