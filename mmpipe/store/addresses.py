"""Many files in one stretch of addresses: what lies in any of them is then one array, and one take gathers from all.

Only on 64-bit Linux, and only where that much address space is to be had; elsewhere every file is mapped by itself.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000  # of Linux; Python's mmap does not name them
_HUGE_PAGE = 2 << 20


class AddressRun:
    """A reserved stretch with a place for every file; it is given back when no view of it is left."""

    def __init__(self, reserved: mmap.mmap, starts: np.ndarray, huge: bool) -> None:
        """Take what `reserve` found."""
        self.starts = starts  # of every file's place, in bytes from the start of the stretch
        self._reserved = reserved
        self._bytes = np.frombuffer(reserved, np.uint8)
        self._huge = huge

    @classmethod
    def reserve(cls, sizes: Sequence[int]) -> AddressRun | None:
        """Return a stretch for files of these sizes; None where there is no such thing.

        Large ones lie at huge pages. The system is asked for them where all files fit in memory: then one of them is
        read at once, and it costs fewer look-ups of addresses; where they do not fit, most of it would be read in vain.
        """
        starts, end = _places(sizes)
        if sys.platform != "linux" or sys.maxsize < 1 << 32 or not end:
            return None
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            reserved = mmap.mmap(-1, end + _HUGE_PAGE, flags=flags, prot=mmap.PROT_READ)
            _system_mmap()
        except (OSError, OverflowError, AttributeError):
            return None
        first = -np.frombuffer(reserved, np.uint8).ctypes.data % _HUGE_PAGE
        return cls(reserved, starts + first, sum(sizes) <= _half_the_memory())

    def map(self, number: int, descriptor: int, nbytes: int) -> memoryview:
        """Put an open file in its place, read-only, and return its bytes; its size was checked before."""
        start = int(self.starts[number])
        place = self._bytes.ctypes.data + start
        if _system_mmap()(place, nbytes, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0) != place:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        if self._huge and nbytes >= _HUGE_PAGE:
            with suppress(OSError):  # a kernel without them
                self._reserved.madvise(mmap.MADV_HUGEPAGE, start, nbytes)
        return memoryview(self._reserved)[start : start + nbytes]

    @property
    def memory(self) -> memoryview:
        """Return the bytes of the whole stretch."""
        return memoryview(self._reserved)

    def windows(self, nbytes: int, step: int) -> np.ndarray:
        """Return an array of so many raw bytes for every multiple of `step` bytes in the stretch: they overlap.

        Raw bytes, as taking some of them is then one memory copy each; as numbers it is one per time step.
        """
        count = max(0, (len(self._bytes) - nbytes) // step + 1)
        return np.ndarray((count,), f"V{nbytes}", self._reserved, strides=(step,))


def _places(sizes: Sequence[int]) -> tuple[np.ndarray, int]:
    """Return where each file starts, and the end of all: large ones at huge pages, small ones close together."""
    starts, end = np.zeros(len(sizes), np.int64), 0
    for number, size in enumerate(sizes):
        step = _HUGE_PAGE if size >= _HUGE_PAGE else mmap.PAGESIZE
        starts[number] = -(-end // step) * step
        end = int(starts[number]) + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    return starts, end


@cache
def _half_the_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE // 2


@cache
def _system_mmap() -> Any:
    """Return the C library's mmap: Python's own cannot say where."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    ]
    return function
