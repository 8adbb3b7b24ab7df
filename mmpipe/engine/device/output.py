"""What a device's process and the native libraries in it print, as lines of our own log, with the process's name."""

from __future__ import annotations

import logging
import os
import uuid

from mmpipe.engine.worker_log import OUTPUT, LineCutter, LineLimit
from mmpipe.words import counted, printable

LOGGER = logging.getLogger("mmpipe.device")
MOST_PRINTED = 100  # lines of one process's life: a library may say the same of every request
_RECEIVE_BYTES = 1 << 16
_MOST_READINGS = 64  # of what a dead process left


class PrintedOutput:
    """Both ends of a process's standard output and error; `theirs` is the process's, until `close_theirs`."""

    def __init__(self, name: str) -> None:
        self.descriptor, self.theirs = os.pipe()
        os.set_blocking(self.descriptor, False)
        self.last = ""  # line that was printed, logged or not
        self._name = name
        self._cutter = LineCutter(uuid.uuid4().hex)  # a mark that nobody prints: all is of one part
        self._limit = LineLimit(MOST_PRINTED, MOST_PRINTED)

    def close_theirs(self) -> None:
        """Leave the writing end to the process: with its death the reading end comes to its own."""
        os.close(self.theirs)

    def hear(self) -> bool:
        """Log what has come; say whether more may come."""
        try:
            data = os.read(self.descriptor, _RECEIVE_BYTES)
        except BlockingIOError:
            return False
        self._tell(self._cutter.feed(data))
        return bool(data)

    def end(self) -> None:
        """Log what the process left behind, and how much was left out."""
        for _ in range(_MOST_READINGS):
            if not self.hear():
                break
        self._tell(self._cutter.rest())
        os.close(self.descriptor)
        if number := self._limit.num_left_out:
            LOGGER.warning("%s: %s left out", self._name, counted(number, "more line", "were", "was"))

    def _tell(self, lines: list[tuple[str, str]]) -> None:
        for part, text in lines:
            self.last = printable(text)
            if self._limit.wants(part):
                LOGGER.warning("%s: %s: %s", self._name, OUTPUT, self.last)
