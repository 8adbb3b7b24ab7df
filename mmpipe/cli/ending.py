"""End a command's process for good: without the interpreter's teardown, beneath which threads of Arrow may abort it.

A thread of Arrow's pools that lets go of a Python buffer while the interpreter is taken down is ended by it in the
middle of C++, and that ends the process with SIGABRT (134), after everything was done and said.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, TextIO


def run_and_leave(work: Callable[[], None]) -> None:
    """Run a command line to its end, and end the process with its exit code; an unforeseen error is shown whole."""
    if _is_watched():
        work()
        return
    try:
        work()
        code = 0
    except SystemExit as end:
        code = _code_of(end)
    except BaseException:  # noqa: BLE001 - the end of the process: what the interpreter would do
        sys.excepthook(*sys.exc_info())
        code = 1
    leave(code)


def leave(code: int) -> NoReturn:
    """Do what the interpreter does at its end, in its order, but for the teardown."""
    try:
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads, ends those of executors
        atexit._run_exitfuncs()  # logs, temporary folders, clients
        code = code if _flush(sys.stdout) or code else 1
        _flush(sys.stderr)
    finally:
        os._exit(code)


def _is_watched() -> bool:
    """Say whether a debugger, a profiler, coverage or `python -i` waits for the interpreter's own end."""
    monitoring = getattr(sys, "monitoring", None)
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring else []
    return any((sys.gettrace(), sys.getprofile(), sys.flags.inspect, sys.flags.interactive, *tools))


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _flush(stream: TextIO | None) -> bool:
    """Write what is waiting; False where it is lost. A reader that went away wants no more of it."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except BrokenPipeError:
        return True
    except OSError:
        return False
    return True
