"""Ingest as a task."""

from __future__ import annotations

import threading

from prefect import task

from mmpipe.config import Config
from mmpipe.steps import ingest
from mmpipe.steps.ingest import IngestReport
from tasks.policy import STEP

# The corpus's lease refuses a second ingest; the days of one backfill wait for each other instead of failing.
_one_at_a_time = threading.Lock()


@task(name="ingest", task_run_name="ingest-{corpus}-{dt}", **STEP)
def ingest_corpus(config: Config, corpus: str, dt: str) -> IngestReport:
    """List, probe and cut what is new in a corpus."""
    with _one_at_a_time:
        return ingest.ingest_corpus(config, corpus, dt)
