"""A lease on a remote store: an object that only a compare-and-swap changes, with a heartbeat.

A holder on this machine is looked up as a process; one elsewhere is dead when its last beat is older than `ttl_s`, by
the object store's own clock. A lease that is given back stays as a record of nobody: a delete knows no condition.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from mmpipe.errors import MmpipeError, TransientError
from mmpipe.io import canonical_json
from mmpipe.remote import RemotePath, create, put, read_stamped, swap
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Holder, Lease, lease_name, process_start, this_host

_BEATS_PER_TTL = 4


class RemoteLease(Lease):
    """The right to work on something of a remote store."""

    def __init__(self, path: RemotePath, holder: Holder, ttl_s: float) -> None:
        """Hold a lease that `acquire` has made."""
        self._place = path
        self._holder = holder
        self._beats = 0
        self._end = threading.Event()
        self._heart = threading.Thread(
            target=self._keep_beating, args=(ttl_s / _BEATS_PER_TTL,), name=f"lease {path.stem}", daemon=True
        )
        self._heart.start()

    @classmethod
    def acquire(cls, layout: StoreLayout, name: str, ttl_s: float = 60.0) -> Self:
        """Take a lease, or raise TransientError that says who has it, since when, and what to do."""
        path = layout.leases / f"{lease_name(name)}.json"
        assert isinstance(path, RemotePath)
        holder = Holder(
            host=this_host(),
            pid=os.getpid(),
            started=process_start(os.getpid()) or 0,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            nonce=uuid.uuid4().hex,
        )
        found = read_stamped(path)
        if found is None:
            taken = create(path, _record(holder, 0))
        else:
            _require_free(path, found[0], ttl_s)
            taken = swap(path, _record(holder, 0), found[1])
        if not taken:
            raise TransientError(f"{path.stem} was taken by another process this moment ({path}). Run again later.")
        return cls(path, holder, ttl_s)

    def check(self) -> None:
        """Raise TransientError if somebody has taken the lease over, as after a long pause of this machine."""
        if self._own_stamp() is None:
            raise TransientError(
                f"the lease {self._place} was taken over while this process stood still. Nothing is lost: run again."
            )

    def release(self) -> None:
        """Give the lease back."""
        if self._end.is_set():
            return
        self._end.set()
        self._heart.join()
        with suppress(OSError, MmpipeError):  # it ends by itself: this process is gone, or `ttl_s` are over
            if stamp := self._own_stamp():
                swap(self._place, _record(None, 0), stamp)

    def _keep_beating(self, interval_s: float) -> None:
        while not self._end.wait(interval_s):
            with suppress(OSError, MmpipeError):  # a missed beat only lets others take over, and `check` sees that
                self._beat_once()

    def _beat_once(self) -> None:
        if stamp := self._own_stamp():
            self._beats += 1
            swap(self._place, _record(self._holder, self._beats), stamp)

    def _own_stamp(self) -> str | None:
        """Return the stamp of our record, None where it is not ours any more."""
        found = read_stamped(self._place)
        return found[1] if found and self._holder.nonce.encode() in found[0] else None


def find_remote_holder(path: Path, ttl_s: float) -> str:
    """Say who holds a lease and is alive, "" where nobody does; by this machine's clock, because it writes nothing."""
    assert isinstance(path, RemotePath)
    found = read_stamped(path)
    living = found and _who_lives(path, found[0], ttl_s, time.time)
    return living[0] if living else ""


def _require_free(path: RemotePath, data: bytes, ttl_s: float) -> None:
    """Refuse a lease whose holder is alive."""
    if living := _who_lives(path, data, ttl_s, lambda: _store_now_s(path)):
        who, age_s = living
        raise TransientError(
            f"{path.stem} is being worked on by {who}, last sign of life {age_s:.0f} s ago ({path}). Wait for it or "
            f"end it, then run again; a dead holder on another machine is replaced {ttl_s:.0f} s after its last sign "
            "of life."
        )


def _who_lives(path: RemotePath, data: bytes, ttl_s: float, now_s: Callable[[], float]) -> tuple[str, float] | None:
    """Return who holds a lease and is alive, with the age of the last sign of it in seconds."""
    try:
        holder = _holder_of(data)
        if holder is None:
            return None
    except (ValueError, TypeError, KeyError):
        holder = None  # unreadable: only its age counts
    here = holder is not None and holder.host == this_host()
    if holder is not None and here and process_start(holder.pid) != holder.started:
        return None
    try:
        age_s = max(now_s() - path.stat().st_mtime, 0.0)
    except FileNotFoundError:
        return None
    if age_s > ttl_s and not here:
        return None
    return str(holder) if holder else "an unreadable record", age_s


def _store_now_s(path: RemotePath) -> float:
    """Return the time by the clock that stamps the beats."""
    probe = path.with_name(f".clock-{uuid.uuid4().hex}")
    try:
        put(probe, b"")
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _record(holder: Holder | None, beats: int) -> bytes:
    return canonical_json({"beats": beats, "holder": holder and asdict(holder)})


def _holder_of(data: bytes) -> Holder | None:
    table = json.loads(data)["holder"]
    return None if table is None else Holder(**table)
