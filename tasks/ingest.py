"""Ingest as a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial

from prefect import task

from mmpipe.config import Config
from mmpipe.errors import PartialError
from mmpipe.steps.ingest import ingest
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.ingest.intake import Look, look_at_corpus
from mmpipe.steps.quarantine.quarantine_reasons import count_reasons
from tasks.artifacts import open_page, progress_here
from tasks.events import tell_of_quarantine
from tasks.policy import STEP

DAYS_SHOWN = 31  # of the quarantine: each is a file to be read
# The corpus's lease refuses a second ingest; the days of one backfill wait for each other instead of failing.
_one_at_a_time = threading.Lock()
_shared_look: ContextVar[Callable[[str], Look] | None] = ContextVar("shared_look", default=None)


@task(name="ingest", task_run_name="ingest-{corpus}-{dt}", **STEP)
def ingest_corpus(config: Config, corpus: str, dt: str) -> IngestReport:
    """List, probe and cut what is new in a corpus."""
    look = _shared_look.get()
    try:
        with _one_at_a_time, tell_of_quarantine(corpus):
            seen = look(corpus) if look else None
            report = ingest.ingest_corpus(config, corpus, dt, progress=progress_here(), look=seen)
    except PartialError as error:
        _show(config, error.report)
        raise
    _show(config, report)
    return report


def _show(config: Config, report: object) -> None:
    page = open_page()
    if page and isinstance(report, IngestReport):
        dts = sorted(count.partition for count in report.partitions if count.quarantined or count.clip_drops)
        with page.looking_at("quarantine"):
            page.show_quarantine(count_reasons(config, report.corpus, dts[-DAYS_SHOWN:]))


@contextmanager
def one_look(config: Config, take: Callable[[Config, str], Look] = look_at_corpus) -> Iterator[None]:
    """Let all ingests of the block see a corpus's folder as the first of them listed it; its threads inherit that."""
    token = _shared_look.set(cache(partial(take, config)))
    try:
        yield
    finally:
        _shared_look.reset(token)
