"""The one worker pool of a process, shared by its threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmpipe.config import Config
from mmpipe.engine.local import LocalEngine

_lock = threading.Lock()
_engine: LocalEngine | None = None
_users = 0


@contextmanager
def shared_engine(config: Config) -> Iterator[LocalEngine]:
    """Enter the process's engine: the first one in starts it, the last one out leaves no worker behind."""
    global _engine, _users
    with _lock:
        if _engine is None:
            _engine = make_engine(config)
        engine = _engine
        _users += 1
    try:
        yield engine
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _engine = None
                engine.close()


def make_engine(config: Config) -> LocalEngine:
    """Make an engine of as many workers as the config says; none is started before there is work."""
    workers = num_workers(config)
    memory = max((corpus.limits.memory_bytes for corpus in config.corpora.values()), default=2 << 30)
    return LocalEngine(num_workers=workers, memory_bytes=memory, worker_setup="mmpipe.steps.worker:set_up")


def num_workers(config: Config) -> int:
    """Return how many workers the config asks for: one per core where it leaves it open."""
    return config.engine.workers or len(os.sched_getaffinity(0))
