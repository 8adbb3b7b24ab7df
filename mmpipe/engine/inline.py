"""The engine without processes, for tests and debuggers: same interface, no protection, no timeout."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Self

from mmpipe.engine.call import find_function, perform
from mmpipe.engine.engine import OnEvent, ignore_event
from mmpipe.engine.work import Event, Outcome, WorkFailure, WorkItem
from mmpipe.errors import TransientError


class InlineEngine:
    """Runs items one after another in the caller's thread; what would kill a worker kills the caller."""

    def __init__(self, worker_setup: str | None = None) -> None:
        self._setup = worker_setup
        self._cancelled = False

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the items."""
        for item in items:
            if self._cancelled:
                raise TransientError("the run was cancelled")
            if self._setup:
                find_function(self._setup)()
                self._setup = None
            pickle.dumps(item.payload)  # fail here on what could not reach a process either
            yield self._outcome(function, item, on_event)

    def _outcome(self, function: str, item: WorkItem, on_event: OnEvent) -> Outcome:
        result = perform(
            function, item.payload, lambda part: on_event(Event(item=item.name, kind="part", text=part)), {}
        )
        if isinstance(result, WorkFailure):
            return Outcome(name=item.name, failure=result)
        return Outcome(name=item.name, result=result)

    def cancel(self) -> None:
        """Let running iterators raise at their next item."""
        self._cancelled = True

    def close(self) -> None:
        """End the engine."""
        self.cancel()

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the engine."""
        self.close()
