"""Who holds a lease: a process of a machine, and how others tell whether it is still there."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease."""

    host: str  # name, boot and process namespace: where the pid means something
    pid: int
    started: int  # of the process, in clock ticks since boot: a pid alone is used again
    since: str  # UTC, for people
    nonce: str

    def __str__(self) -> str:
        """Say for people who this is."""
        return f"process {self.pid} on {self.host.partition(' ')[0]} since {self.since}"


def this_process() -> Holder:
    """Return this process as the holder of a new lease."""
    return Holder(
        host=this_host(),
        pid=os.getpid(),
        started=process_start(os.getpid()) or 0,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        nonce=uuid.uuid4().hex,
    )


def refusal(path: Path, who: str, age_s: float, ttl_s: float) -> str:
    """Say that somebody alive holds a lease, and what to do."""
    return (
        f"{path.stem} is being worked on by {who}, last sign of life {age_s:.0f} s ago ({path}). Wait for it or end "
        f"it, then run again; a dead holder on another machine is replaced {ttl_s:.0f} s after its last sign of life."
    )


def this_host() -> str:
    """Return what must be equal for a pid to mean the same process: host name, boot, process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])
