"""The worker process: takes one task after another from its socket until that ends."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import socket
import traceback
from dataclasses import asdict
from typing import NoReturn

from mmpipe.engine.call import find_function, perform
from mmpipe.engine.frames import Kind, pack, receive_frame
from mmpipe.engine.work import WorkFailure
from mmpipe.errors import MmpipeError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(descriptor: int, parent_pid: int) -> NoReturn:
    """Serve tasks from an inherited socket; end with the parent, however that ends."""
    die_with(parent_pid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here; gigabytes on the disk are not
    offer_to_oom_killer()
    connection = socket.socket(fileno=os.dup(descriptor))  # the original stays open: its end is the process's end
    while (frame := receive_frame(connection)) is not None:
        kind, body = frame
        connection.sendall(_set_up(body.decode()) if kind is Kind.SETUP else _run(connection, body))
    os._exit(0)  # the parent is gone or done: threads and exit handlers of extractors must not keep us


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


def _run(connection: socket.socket, body: bytes) -> bytes:
    function, payload, poisoned = pickle.loads(body)  # noqa: S301 - from our own parent, over a private socket

    def report(part: str) -> None:
        connection.sendall(pack(Kind.PART, part.encode("utf-8", "replace")))

    try:
        result = perform(function, payload, report, poisoned)
    except MemoryError:
        return pack(Kind.STARVED, b"")
    return _failure(result) if isinstance(result, WorkFailure) else pack(Kind.RESULT, result)


def _failure(failure: WorkFailure) -> bytes:
    return pack(Kind.FAILURE, json.dumps(asdict(failure)).encode())
