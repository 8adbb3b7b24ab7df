"""Two real workers for a whole session of tests: a module borrows them, and starts and ends none of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import pytest

from mmpipe.config import EngineConfig, parse_config
from mmpipe.engine.engine import Engine, OnEvent, ignore_event
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.steps.workers.workers import make_engine, shared_engine

CONFIG = parse_config({}).model_copy(update={"engine": EngineConfig(workers=2)})


class LentEngine:
    """The engine as one module has it: what ends it for the module leaves its processes to the next one."""

    def __init__(self, kept: Engine) -> None:
        self._kept = kept
        self.is_cancelled = False

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        """Yield one outcome per item."""
        return self._kept.run(function, items, on_event)

    def cancel(self) -> None:
        """End all work for good: the next module gets other processes."""
        self.is_cancelled = True
        self._kept.cancel()

    def close(self) -> None:
        """Leave the processes alone."""

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the processes alone."""


class KeptEngine:
    """Owns the workers between modules; a context manager."""

    def __init__(self) -> None:
        self._engine = make_engine(CONFIG)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Make the workers those of this process, for all who enter `shared_engine` meanwhile."""
        engine = LentEngine(self._engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mmpipe.steps.workers.workers.make_engine", lambda config: engine)
            entered = shared_engine(CONFIG)
            entered.__enter__()
        try:
            yield
        finally:
            entered.__exit__(None, None, None)
            if engine.is_cancelled:
                self._engine.close()
                self._engine = make_engine(CONFIG)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers."""
        self._engine.close()
