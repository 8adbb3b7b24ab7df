"""Leases prevent double work: who has one works, everybody else is told to come back. (Commits prevent double commits.)

A lease is a file made put-if-absent that says who holds it. A dead holder's lease is taken over: at once where its
process can be looked up from here, else when its heartbeat is older than `ttl_s`. One advisory lock per name
guards look-and-take; it holds only for moments, and the kernel frees it with its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mmpipe.errors import TransientError
from mmpipe.io import canonical_json, make_directory, put_if_absent, remove_file, write_durable
from mmpipe.remote import RemotePath
from mmpipe.store.layout import StoreLayout

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@=._-]{0,199}")
_HEARTBEATS_PER_TTL = 4
_GUARD_TIMEOUT_S = 10.0


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


class Lease:
    """The right to work on something, for as long as the `with` block lasts and its process lives."""

    def __init__(self, path: Path, descriptor: int, ttl_s: float) -> None:
        """Hold a lease that `acquire` has made."""
        self._path = path
        self._descriptor = descriptor
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, args=(ttl_s / _HEARTBEATS_PER_TTL,), name=f"lease {path.stem}", daemon=True
        )
        self._thread.start()

    @classmethod
    def acquire(cls, layout: StoreLayout, name: str, ttl_s: float = 60.0) -> Lease:
        """Take a lease, or raise TransientError that says who has it, since when, and what to do.

        `ttl_s` is how old the heartbeat of a holder on another machine may be; here, the process is looked up.
        """
        if isinstance(layout.leases, RemotePath):
            from mmpipe.store.remote_lease import RemoteLease

            return RemoteLease.acquire(layout, name, ttl_s)
        path = make_directory(layout.leases) / f"{lease_name(name)}.json"
        with _guard(path) as now_s:
            if refusal := _living_holder(path, now_s, ttl_s):
                raise TransientError(refusal)
            return cls(path, _take(layout, path), ttl_s)

    def check(self) -> None:
        """Raise TransientError if somebody has taken the lease over, as after a long pause of this machine."""
        if not self._is_ours():
            raise TransientError(
                f"the lease {self._path} was taken over while this process stood still. Nothing is lost: run again."
            )

    def release(self) -> None:
        """Give the lease back."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        with _guard(self._path):
            if self._is_ours():
                remove_file(self._path)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Return the lease."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, whatever happened."""
        self.release()

    def _beat(self, interval_s: float) -> None:
        """Touch our own inode: harmless where the name belongs to somebody else by now."""
        while not self._stop.wait(interval_s):
            with suppress(OSError):  # a missed beat only lets others take over, and `check` sees that
                os.utime(self._descriptor)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


def lease_name(name: str) -> str:
    """Return a lease's name, or refuse what is none."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a lease's name is letters, digits and @=._-, got {name!r}")
    return name


def find_holder(layout: StoreLayout, name: str, ttl_s: float = 60.0) -> str:
    """Say who holds a lease and is alive, "" where nobody does; takes nothing."""
    if isinstance(layout.leases, RemotePath):
        from mmpipe.store.remote_lease import find_remote_holder

        return find_remote_holder(layout.leases / f"{name}.json", ttl_s)
    found = _who_lives(layout.leases / f"{name}.json", time.time(), ttl_s)
    return found[0] if found else ""


@contextmanager
def _guard(path: Path) -> Iterator[float]:
    """Hold the lock of a lease's name; yield the time by the file system's own clock, which stamps the heartbeats."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, path)
        os.utime(descriptor)
        yield os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    give_up_s = time.monotonic() + _GUARD_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > give_up_s:
                raise TransientError(
                    f"a process has kept the lock of the lease {path} for {_GUARD_TIMEOUT_S:.0f} s; it may be stopped. "
                    "End it, or run again."
                ) from error
            time.sleep(0.005)


def _living_holder(path: Path, now_s: float, ttl_s: float) -> str:
    """Refuse, in words, a lease that is held by somebody alive, or return ""."""
    found = _who_lives(path, now_s, ttl_s)
    if found is None:
        return ""
    who, age_s = found
    return (
        f"{path.stem} is being worked on by {who}, last sign of life {age_s:.0f} s ago ({path}). Wait for it or end "
        f"it, then run again; a dead holder on another machine is replaced {ttl_s:.0f} s after its last sign of life."
    )


def _who_lives(path: Path, now_s: float, ttl_s: float) -> tuple[str, float] | None:
    """Return who holds a lease and is alive, with the age of the last sign of it in seconds."""
    try:
        age_s = max(now_s - path.stat().st_mtime, 0.0)
        holder = _read_holder(path)
    except FileNotFoundError:
        return None
    if holder is not None and holder.host == this_host():
        if process_start(holder.pid) != holder.started:
            return None
    elif age_s > ttl_s:
        return None
    return str(holder) if holder else "an unreadable record", age_s


def _take(layout: StoreLayout, path: Path) -> int:
    """Put this process's record in the place of what is there; return a descriptor of it."""
    holder = Holder(
        host=this_host(),
        pid=os.getpid(),
        started=process_start(os.getpid()) or 0,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        nonce=uuid.uuid4().hex,
    )
    staged = make_directory(layout.staging) / holder.nonce
    try:
        write_durable(staged, canonical_json(asdict(holder)))
        remove_file(path)
        if not put_if_absent(staged, path):
            raise TransientError(f"the lease {path} was taken by a process that does not know its lock. Run again.")
        return os.open(staged, os.O_RDWR)
    finally:
        staged.unlink(missing_ok=True)


def _read_holder(path: Path) -> Holder | None:
    """Return the record of a lease, or None where it cannot be read: then only its heartbeat counts."""
    try:
        holder = Holder(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        return None
    kinds = [(field.type, type(getattr(holder, field.name)).__name__) for field in fields(Holder)]
    return holder if all(wanted == got for wanted, got in kinds) else None


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
