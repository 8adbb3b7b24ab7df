"""The door of the room: what every engine can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from mmpipe.engine.work import Event, Outcome, WorkItem

OnEvent = Callable[[Event], None]


class Engine(Protocol):
    """Runs items; one per process, shared by its threads.

    The function is named "module:name" and called as `function(payload, report, poisoned) -> bytes`: it calls
    `report(part)` when it starts a part, `report("")` when it is between parts, and leaves out the parts that are keys
    of `poisoned`. A result must depend on payload and poisoned alone: an item may be run again from its start.
    """

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ...) -> Iterator[Outcome]:
        """Yield one outcome per item, as they come; work starts with the first `next`, and ends with the iterator.

        Events are delivered in the caller's thread. Raise TransientError after a cancel.
        """
        ...

    def cancel(self) -> None:
        """End all work at once and for good: running iterators raise. May be called from a signal handler."""
        ...

    def close(self) -> None:
        """Cancel what still runs, and return when no process is left."""
        ...

    def __enter__(self) -> Self:
        """Return the engine itself."""
        ...

    def __exit__(self, *error: object) -> None:
        """Close the engine."""
        ...


def ignore_event(event: Event) -> None:
    """Do nothing with an event."""
