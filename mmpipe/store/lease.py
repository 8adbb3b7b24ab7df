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
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from mmpipe.errors import HeldError, MmpipeError, TransientError
from mmpipe.io import canonical_json, make_directory, put_if_absent, remove_file, write_durable
from mmpipe.remote import RemotePath
from mmpipe.store.holder import Holder, process_start, refusal, this_host, this_process
from mmpipe.store.layout import StoreLayout

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@=._-]{0,199}")
_BEATS_PER_TTL = 4
_GUARD_TIMEOUT_S = 10.0


class Lease(ABC):
    """The right to work on something, for as long as the `with` block lasts and its process lives."""

    def __init__(self, path: Path, ttl_s: float) -> None:
        """Hold a lease that `acquire` has made, and keep its heart beating."""
        self._path = path
        self._end = threading.Event()
        self._heart = threading.Thread(
            target=self._keep_beating, args=(ttl_s / _BEATS_PER_TTL,), name=f"lease {path.stem}", daemon=True
        )
        self._heart.start()

    @staticmethod
    def acquire(layout: StoreLayout, name: str, ttl_s: float = 60.0) -> Lease:
        """Take a lease, or raise HeldError that says who has it, since when, and what to do.

        `ttl_s` is how old the heartbeat of a holder on another machine may be; here, the process is looked up.
        """
        path = layout.leases / f"{lease_name(name)}.json"
        if isinstance(path, RemotePath):
            from mmpipe.store.remote_lease import take_remote_lease

            return take_remote_lease(path, ttl_s)
        make_directory(layout.leases)
        with _guard(path) as now_s:
            if found := _who_lives(path, now_s, ttl_s):
                raise HeldError(refusal(path, *found, ttl_s))
            return _FileLease(path, _take(layout, path), ttl_s)

    def check(self) -> None:
        """Raise TransientError if somebody has taken the lease over, as after a long pause of this machine."""
        if not self._is_ours():
            raise TransientError(
                f"the lease {self._path} was taken over while this process stood still. Nothing is lost: run again."
            )

    def release(self) -> None:
        """Give the lease back."""
        if self._end.is_set():
            return
        self._end.set()
        self._heart.join()
        self._give_back()

    def __enter__(self) -> Self:
        """Return the lease."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, whatever happened."""
        self.release()

    def _keep_beating(self, interval_s: float) -> None:
        while not self._end.wait(interval_s):
            with suppress(OSError, MmpipeError):  # a missed beat only lets others take over, and `check` sees that
                self._beat()

    @abstractmethod
    def _beat(self) -> None:
        """Give a sign of life."""

    @abstractmethod
    def _is_ours(self) -> bool:
        """Say whether nobody has taken the lease over."""

    @abstractmethod
    def _give_back(self) -> None:
        """Let the next one have it, if it is still ours."""


class _FileLease(Lease):
    """A lease on something of a store in a folder: a file whose inode is ours."""

    def __init__(self, path: Path, descriptor: int, ttl_s: float) -> None:
        self._descriptor = descriptor
        super().__init__(path, ttl_s)

    def _beat(self) -> None:
        """Touch our own inode: harmless where the name belongs to somebody else by now."""
        os.utime(self._descriptor)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _give_back(self) -> None:
        with _guard(self._path):
            if self._is_ours():
                remove_file(self._path)
        os.close(self._descriptor)


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
    holder = this_process()
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
