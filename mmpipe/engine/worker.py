"""The worker process: takes one task after another from its socket until that ends."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from typing import NoReturn

from mmpipe.engine.call import find_function, perform
from mmpipe.engine.frames import Kind, pack, receive_frame
from mmpipe.engine.work import WorkFailure
from mmpipe.engine.worker_log import mark_part, pack_line
from mmpipe.errors import MmpipeError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(descriptor: int, parent_pid: int, log_level: int, token: str) -> NoReturn:
    """Serve tasks from an inherited socket; end with the parent, however that ends."""
    die_with(parent_pid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here; gigabytes on the disk are not
    offer_to_oom_killer()
    connection = socket.socket(fileno=os.dup(descriptor))  # the original stays open: its end is the process's end
    line = _Line(connection, token)
    _forward_logs(line, log_level)
    while (frame := receive_frame(connection)) is not None:
        kind, body = frame
        line.send(_set_up(body.decode()) if kind is Kind.SETUP else _run(line, body))
    os._exit(0)  # the parent is gone or done: threads and exit handlers of extractors must not keep us


class _Line:
    """The way to the parent, for any thread: a frame goes whole."""

    def __init__(self, connection: socket.socket, token: str) -> None:
        self._connection = connection
        self._token = token
        self._output = os.dup(2)  # whatever becomes of the one that libraries print to
        self._lock = threading.RLock()  # a handler of signals may log while a frame is sent
        self._pid = os.getpid()

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        with self._lock:
            self._connection.sendall(frame)

    def mark(self, part: str) -> None:
        """Say among the printed lines which part begins, where the parent reads them."""
        if self._token:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                os.write(self._output, mark_part(self._token, part))

    def is_ours(self) -> bool:
        """Say whether this is the process that the parent speaks with, and not one that extractor code forked."""
        return os.getpid() == self._pid


class _ForwardHandler(logging.Handler):
    """Sends every record to the parent, which knows what the process is at."""

    def __init__(self, line: _Line, level: int) -> None:
        super().__init__(level)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, shortened; what cannot be put into words is no reason to fail."""
        if not self._line.is_ours():
            return
        try:
            said = pack_line(record.levelno, record.name, self.format(record))
        except Exception:  # noqa: BLE001 - of anybody's record: its arguments need not fit its text
            said = pack_line(record.levelno, record.name, str(record.msg))
        self._line.send(pack(Kind.LOG, said))


def _forward_logs(line: _Line, level: int) -> None:
    """Have all that is logged or warned here reach the parent's log."""
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(_ForwardHandler(line, level))
    logging.captureWarnings(True)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, and keep its own orphans below it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before prctl
        os._exit(1)


def offer_to_oom_killer() -> None:
    """Let the kernel, short of memory, choose a worker and not the process that supervises it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        return  # a sandbox may forbid it; the watchdog of the parent is the first line anyway


def _set_up(name: str) -> bytes:
    try:
        if name:
            find_function(name)()
    except MmpipeError as error:
        return _failure(WorkFailure(code=type(error).__name__, detail=str(error)))
    except Exception:  # noqa: BLE001 - the process border: the parent raises it, with this traceback
        return _failure(WorkFailure(code="crashed", detail=traceback.format_exc()))
    return pack(Kind.READY, b"")


def _run(line: _Line, body: bytes) -> bytes:
    function, payload, poisoned = pickle.loads(body)  # noqa: S301 - from our own parent, over a private socket

    line.mark("")

    def report(part: str) -> None:
        line.mark(part)
        line.send(pack(Kind.PART, part.encode("utf-8", "replace")))

    try:
        result = perform(function, payload, report, poisoned)
    except MemoryError:
        return pack(Kind.STARVED, b"")
    return _failure(result) if isinstance(result, WorkFailure) else pack(Kind.RESULT, result)


def _failure(failure: WorkFailure) -> bytes:
    return pack(Kind.FAILURE, json.dumps(asdict(failure)).encode())
