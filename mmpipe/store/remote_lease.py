"""A lease on a remote store: an object that only a compare-and-swap changes, with a heartbeat.

A holder on this machine is looked up as a process; one elsewhere is dead when its last beat is older than `ttl_s`, by
the object store's own clock. A lease that is given back stays as a record of nobody, until `mmpipe gc` removes it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from mmpipe.errors import HeldError, MmpipeError, TransientError
from mmpipe.io import canonical_json
from mmpipe.remote import RemotePath, create, read_stamped, store_now, swap
from mmpipe.store.holder import Holder, process_start, refusal, this_host, this_process
from mmpipe.store.lease import Lease


def take_remote_lease(path: RemotePath, ttl_s: float) -> Lease:
    """Take a lease, or raise HeldError that says who has it, since when, and what to do."""
    holder = this_process()
    found = read_stamped(path)
    if found is None:
        taken = create(path, _record(holder, 0))
    elif living := _who_lives(path, found[0], ttl_s):
        raise HeldError(refusal(path, *living, ttl_s))
    else:
        taken = swap(path, _record(holder, 0), found[1])
    if not taken:
        raise TransientError(f"{path.stem} was taken by another process this moment ({path}). Run again later.")
    return _RemoteLease(path, holder, ttl_s)


class _RemoteLease(Lease):
    """A lease on something of a remote store: a record that only the one who read it last can change."""

    def __init__(self, path: RemotePath, holder: Holder, ttl_s: float) -> None:
        self._place = path
        self._holder = holder
        self._beats = 0
        super().__init__(path, ttl_s)

    def _beat(self) -> None:
        if stamp := self._own_stamp():
            self._beats += 1
            swap(self._place, _record(self._holder, self._beats), stamp)

    def _is_ours(self) -> bool:
        return self._own_stamp() is not None

    def _give_back(self) -> None:
        with suppress(OSError, MmpipeError):  # it ends by itself: this process is gone, or `ttl_s` are over
            if stamp := self._own_stamp():
                swap(self._place, _record(None, 0), stamp)

    def _own_stamp(self) -> str | None:
        """Return the stamp of our record, None where it is not ours any more."""
        found = read_stamped(self._place)
        return found[1] if found and self._holder.nonce.encode() in found[0] else None


def find_remote_holder(path: Path, ttl_s: float) -> str:
    """Say who holds a lease and is alive, "" where nobody does; writes nothing."""
    assert isinstance(path, RemotePath)
    found = read_stamped(path)
    living = found and _who_lives(path, found[0], ttl_s)
    return living[0] if living else ""


def _who_lives(path: RemotePath, data: bytes, ttl_s: float) -> tuple[str, float] | None:
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
        age_s = max(store_now(path) - path.stat().st_mtime, 0.0)
    except FileNotFoundError:
        return None
    if age_s > ttl_s and not here:
        return None
    return str(holder) if holder else "an unreadable record", age_s


def _record(holder: Holder | None, beats: int) -> bytes:
    return canonical_json({"beats": beats, "holder": holder and asdict(holder)})


def _holder_of(data: bytes) -> Holder | None:
    table = json.loads(data)["holder"]
    return None if table is None else Holder(**table)
