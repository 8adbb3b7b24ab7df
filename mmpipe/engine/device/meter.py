"""What a device did with its time: counted by its process in shared memory, so that its death loses nothing."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMeter:
    """The account of one device over all of its processes; times are wall nanoseconds.

    Busy is the time with a request in hand, from its start to its answer: on a GPU the device's own idle time inside
    (launches, copies that nothing overlaps) is part of it. Idle starts with the first request.
    """

    busy_ns: int = 0
    idle_ns: int = 0  # nobody asked for anything
    load_ns: int = 0  # of weights
    requests: int = 0  # that were answered
    clips: int = 0
    faults: int = 0  # requests that ended in an exception
    media_bytes: int = 0  # taken from shared memory
    value_bytes: int = 0  # put there
    loads: int = 0
    evictions: int = 0  # of what was loaded, for want of memory
    out_of_memory: int = 0  # that reached the process: the extractors halve their batches before
    staged: int = 0  # requests whose media were on the device before their turn
    starts: int = 0

    @property
    def busy_share(self) -> float:
        """Return which share of the time since the first request there was work, 0 where nothing was asked."""
        total_ns = self.busy_ns + self.idle_ns + self.load_ns
        return self.busy_ns / total_ns if total_ns else 0.0

    def __sub__(self, other: DeviceMeter) -> DeviceMeter:
        """Return what came after `other`."""
        return DeviceMeter(**{name: getattr(self, name) - getattr(other, name) for name in _NAMES})


_NAMES = tuple(field.name for field in fields(DeviceMeter))


class SharedMeter:
    """The counters of a device: one process at a time adds to them, its parent reads."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._counters = np.frombuffer(mmap.mmap(descriptor, _PAGE_BYTES), np.int64, len(_NAMES))

    @classmethod
    def create(cls) -> Self:
        """Make counters that are all 0."""
        descriptor = os.memfd_create("mmpipe-meter", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _PAGE_BYTES)
        return cls(descriptor)

    def add(self, **counts: int) -> None:
        """Add to counters by name."""
        for name, count in counts.items():
            self._counters[_NAMES.index(name)] += count

    def read(self) -> DeviceMeter:
        """Return what was counted up to now."""
        return DeviceMeter(**dict(zip(_NAMES, map(int, self._counters), strict=True)))

    def close(self) -> None:
        """Close the descriptor; what was counted can still be read."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
