"""What lives in a Ray actor: one supervised worker process, just as on one machine, and the news of it.

The actor itself never touches media: it starts, watches and ends the confined process that does.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from mmpipe.engine.slot import Slot, Stopped, WorkerSettings
from mmpipe.engine.work import Event, Outcome, WorkItem
from mmpipe.errors import MmpipeError

GATHER_S = 0.2  # events of so long travel together; an outcome waits for nothing
MOST_AT_ONCE = 8  # calls that an actor answers side by side: two wait for news, the others let go and end


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Why an actor cannot serve: the class of the error and its text; the run raises it."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Let:
    """An item was let go, since nobody waits for it any more."""


News = Event | Outcome | Broken | Let


class RayHost:
    """Serves one item after another; calls come from several threads, the worker process belongs to one of its own.

    (The kernel ends a worker with the *thread* that started it, and a pool's threads are not ours to keep.)
    """

    def __init__(self, worker_setup: str | None, memory_bytes: int, log_level: int) -> None:
        self._stop_descriptor = os.eventfd(0)
        self._settings = WorkerSettings(
            setup=worker_setup,
            memory_bytes=memory_bytes,
            log_file=None,
            stop_descriptor=self._stop_descriptor,
            log_level=log_level,
        )
        self._jobs: SimpleQueue[tuple[int, str, bytes] | None] = SimpleQueue()
        self._news: defaultdict[int, SimpleQueue[News]] = defaultdict(SimpleQueue)  # by ticket
        self._lock = threading.Lock()
        self._taking = threading.Condition()
        self._last_taken = 0
        self._begun: set[int] = set()  # also what has ended
        self._over: set[int] = set()
        self._ended = False
        self._thread = threading.Thread(target=self._live, name="slot", daemon=True)
        self._thread.start()

    def serve(self, ticket: int, after: int, function: str, item: bytes) -> list[News]:
        """Take a pickled item, once `after` is taken, and wait for its first news; 0 is before all others."""
        with self._taking:  # calls may overtake each other, and the driver must know which item is worked on
            self._taking.wait_for(lambda: self._last_taken == after)
            self._jobs.put((ticket, function, item))
            self._last_taken = ticket
            self._taking.notify_all()
        return self.news(ticket)

    def news(self, ticket: int) -> list[News]:
        """Wait for news of an item and return what has gathered: anything but an event is its last."""
        queue = self._news[ticket]
        found = [queue.get()]
        until_s = time.monotonic() + GATHER_S
        with suppress(Empty):
            while isinstance(found[-1], Event):
                found.append(queue.get(timeout=max(0.0, until_s - time.monotonic())))
        if not isinstance(found[-1], Event):
            del self._news[ticket]
        return found

    def let_go(self, ticket: int, *, though_begun: bool) -> None:
        """Give an item up: one that waits at once, one that has begun within a tick and with its worker process."""
        with self._lock:
            waits = ticket not in self._begun
            if waits or though_begun:
                self._over.add(ticket)
            if waits:
                self._news[ticket].put(Let())

    def end(self) -> None:
        """Leave no process behind."""
        self._ended = True
        os.eventfd_write(self._stop_descriptor, 1)
        self._jobs.put(None)
        self._thread.join()

    def _live(self) -> None:
        slot = Slot(self._settings)
        try:
            while (job := self._jobs.get()) is not None:
                ticket, function, pickled = job
                with self._lock:
                    self._begun.add(ticket)
                    is_over = ticket in self._over
                if not is_over:
                    self._news[ticket].put(self._settle(slot, ticket, function, pickled))
        finally:
            slot.end()

    def _settle(self, slot: Slot, ticket: int, function: str, pickled: bytes) -> News:
        try:
            item: WorkItem = pickle.loads(pickled)  # noqa: S301 - from our own driver, as the code of this actor is
            return slot.serve(function, item, self._news[ticket].put, lambda: self._ended or ticket in self._over)
        except Stopped:
            slot.end()
            return Let()
        except MmpipeError as error:
            slot.end()
            return Broken(kind=type(error).__name__, text=str(error))
        except Exception as error:  # noqa: BLE001 - the actor's border: the run raises it
            slot.end()
            return Broken(kind="RuntimeError", text=f"{type(error).__name__}: {error}")


def actor_class() -> type[Any]:
    """Return the class of the actors.

    It is made in a function, so that Ray sends it by value: an actor where mmpipe is missing can say so itself.
    """

    class MmpipeWorker:
        """Finds mmpipe on its node and hands all calls on to a RayHost."""

        def __init__(self, path: list[str], worker_setup: str | None, memory_bytes: int, log_level: int) -> None:
            import sys

            if path:
                sys.path[:] = path
            self._host: Any = None
            self._make = (worker_setup, memory_bytes, log_level)

        def hello(self, check: str, payload: bytes) -> bytes:
            """Return a pickled NodeReport, or nothing where mmpipe is missing."""
            import pickle
            from importlib.util import find_spec

            if find_spec("mmpipe") is None:
                return b""
            from mmpipe.engine.ray.host import RayHost
            from mmpipe.engine.ray.node import report_node

            self._host = self._host or RayHost(*self._make)
            return pickle.dumps(report_node(check, payload))

        def serve(self, ticket: int, after: int, function: str, item: bytes) -> list[Any]:
            """Take an item and wait for its first news."""
            return self._host.serve(ticket, after, function, item)

        def news(self, ticket: int) -> list[Any]:
            """Wait for news of an item."""
            return self._host.news(ticket)

        def let_go(self, ticket: int, though_begun: bool) -> None:
            """Give an item up."""
            self._host.let_go(ticket, though_begun=though_begun)

        def end(self) -> None:
            """Leave no process behind."""
            if self._host is not None:
                self._host.end()

    return MmpipeWorker
