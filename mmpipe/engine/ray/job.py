"""What an engine and its crew of actors tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from mmpipe.engine.work import Event, Outcome


class NodeCheck(Protocol):
    """What every node must have beside the same software: a store that it can reach, for one."""

    @property
    def function(self) -> str:
        """Return "module:name" of what is called with the payload on a node, and raises an MmpipeError."""
        ...

    def prepare(self) -> bytes:
        """Lay out what nodes will look for, and return the payload."""
        ...

    def clear(self) -> None:
        """Take it away again."""
        ...


class Asker(Protocol):
    """Who waits for items."""

    messages: SimpleQueue[Outcome | Event | BaseException]
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKind:
    """How worker processes are set up, bounded and heard."""

    memory_bytes: int
    setup: str | None
    log_level: int  # least level of what they say that reaches the log


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """An item on its way."""

    run: Asker
    function: str
    name: str
    pickled: bytes
    losses: int = 0
