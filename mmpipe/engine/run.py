"""One call of an engine's `run`: where its news arrive, and whether anybody still waits for them."""

from __future__ import annotations

from queue import SimpleQueue

from mmpipe.engine.engine import OnEvent
from mmpipe.engine.work import Event, Outcome
from mmpipe.engine.worker_log import tell


class Run:
    """One call of `run`: where its news arrive, and whether anybody still waits for them."""

    def __init__(self, function: str) -> None:
        self.function = function
        self.messages: SimpleQueue[Outcome | Event | BaseException] = SimpleQueue()  # may be put from signal handlers
        self.is_over = False

    def next_outcome(self, on_event: OnEvent) -> Outcome:
        """Wait for an outcome, delivering the events before it."""
        while True:
            message = self.messages.get()
            if isinstance(message, Outcome):
                return message
            if isinstance(message, BaseException):
                raise message
            if not tell(message):
                on_event(message)
