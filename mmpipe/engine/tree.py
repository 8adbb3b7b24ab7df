"""What a process and all processes below it are and hold, read from /proc."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with its number."""

    pid: int
    start_ticks: int


def descendants(pid: int) -> tuple[ProcessId, ...]:
    """Return the living processes below `pid`, children before grandchildren."""
    found: list[ProcessId] = []
    parents = [pid]
    while parents:
        for child in _children(parents.pop()):
            start_ticks = _start_ticks(child)
            if start_ticks is not None:
                found.append(ProcessId(pid=child, start_ticks=start_ticks))
                parents.append(child)
    return tuple(found)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def kill_process(process: ProcessId) -> None:
    """Kill a process if it still is the one that was meant."""
    if _start_ticks(process.pid) == process.start_ticks:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return [
            int(child)
            for thread in threads
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        ]
    except OSError:
        return []


def _start_ticks(pid: int) -> int | None:
    """Return when a process was started, None if it is gone or only waits to be reaped."""
    try:
        # The name in parentheses may hold anything, also spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
