"""The worker processes that all tasks of a flow run share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import TerminationSignal

from mmpipe.config import Config
from mmpipe.steps.workers.workers import shared_engine


@contextmanager
def shared_workers(config: Config) -> Iterator[None]:
    """Keep the process's worker pool open; tasks that enter it meanwhile get the same one.

    A run that is cancelled must not wait for its batches, and their tasks hold the pool open: so end it under them.
    """
    with shared_engine(config) as engine:
        try:
            yield
        except (TerminationSignal, KeyboardInterrupt):
            engine.cancel()
            raise
