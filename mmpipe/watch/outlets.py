"""Where lineage events go: lines of a file, or a server, which no night waits for longer than it may."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.watch.lines import append_line

LOGGER = logging.getLogger("mmpipe.watch")
KEY_VARIABLE = "OPENLINEAGE_API_KEY"
MOST_WAITING = 1000  # events; a server that is away that long has missed the night anyway
REST_S = 60.0  # a server that did not answer is left alone for so long
_FIRST_PAUSE_S = 0.1
_REFUSED = range(400, 500)  # it will not take this event, ever
_TRY_AGAIN = (408, 425, 429)


class FileOutlet:
    """Appends events to a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, event: bytes) -> None:
        """Append one line."""
        append_line(self._path, event)

    def flush(self) -> None:
        """Do nothing: each line has left."""


@dataclass(slots=True)
class MemoryOutlet:
    """The double: keeps events."""

    events: list[bytes] = field(default_factory=list)
    num_flushes: int = 0

    def send(self, event: bytes) -> None:
        """Keep it."""
        self.events.append(event)

    def flush(self) -> None:
        """Count it."""
        self.num_flushes += 1


class HttpOutlet:
    """Posts events from a thread of its own, in order, each tried again with growing pauses for `timeout_s` at most.

    An event that no try brings there is lost and that is logged; then the server is left alone for a while. The key
    for the server comes from the environment alone.
    """

    def __init__(self, url: str, timeout_s: float, rest_s: float = REST_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._rest_s = rest_s
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._away_until_s = 0.0
        self._chance = random.Random()
        self.num_lost = 0

    def send(self, event: bytes) -> None:
        """Queue an event."""
        with self._changed:
            if time.monotonic() < self._away_until_s or len(self._waiting) >= MOST_WAITING:
                self.num_lost += 1
                return
            self._waiting.append(event)
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                # In the context of who sends first: what it logs must reach the log of that run.
                work = copy_context().run
                self._thread = threading.Thread(target=work, args=(self._post_all,), name="lineage", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until the queue is empty, for as long as one event may take."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_busy, self._timeout_s)

    def _post_all(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                event = self._waiting.popleft()
                self._is_busy = True
            if why := self._post(event):
                self._give_up(why)

    def _post(self, event: bytes) -> str:
        """Bring one event there; return why that did not go, "" where it did."""
        deadline_s, pause_s = time.monotonic() + self._timeout_s, _FIRST_PAUSE_S
        while True:
            left_s = max(deadline_s - time.monotonic(), 0.05)
            try:
                with urllib.request.urlopen(self._request(event), timeout=left_s):
                    return ""
            except urllib.error.HTTPError as error:
                why = f"it answered {error.code}"
                error.close()
                if error.code in _REFUSED and error.code not in _TRY_AGAIN:
                    LOGGER.warning("a lineage event was refused by %s: %s", self._url, why)
                    return ""  # the next may be better
            except OSError as error:
                why = str(getattr(error, "reason", error))
            pause_s = min(pause_s * 2, 2.0) * random.uniform(0.5, 1.0)
            if time.monotonic() + pause_s >= deadline_s:
                return why
            time.sleep(pause_s)

    def _request(self, event: bytes) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(self._url, event, headers)

    def _give_up(self, why: str) -> None:
        with self._changed:
            lost = 1 + len(self._waiting)
            self._waiting.clear()
            self.num_lost += lost
            self._away_until_s = time.monotonic() + self._rest_s
        LOGGER.warning("%d lineage events are lost, %s cannot be reached: %s", lost, self._url, why)
