"""Many files in one stretch of addresses: what lies in any of them is then one array, and one take gathers from all.

Only on 64-bit Linux, and only where that much address space is to be had; elsewhere every file is mapped by itself.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000  # of Linux; Python's mmap does not name them


class AddressRun:
    """A reserved stretch with a place for every file; it is given back when no view of it is left."""

    def __init__(self, reserved: mmap.mmap, starts: np.ndarray) -> None:
        """Take what `reserve` found."""
        self.starts = starts  # of every file's place, in bytes from the start of the stretch
        self._reserved = reserved
        self._bytes = np.frombuffer(reserved, np.uint8)

    @classmethod
    def reserve(cls, sizes: Sequence[int]) -> AddressRun | None:
        """Return a stretch for files of these sizes; None where there is no such thing."""
        ends = np.cumsum([-(-size // mmap.PAGESIZE) * mmap.PAGESIZE for size in sizes], dtype=np.int64)
        if sys.platform != "linux" or sys.maxsize < 1 << 32 or not len(ends) or not ends[-1]:
            return None
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            reserved = mmap.mmap(-1, int(ends[-1]), flags=flags, prot=mmap.PROT_READ)
            _system_mmap()
        except (OSError, OverflowError, AttributeError):
            return None
        return cls(reserved, np.concatenate([[0], ends[:-1]]))

    def map(self, number: int, descriptor: int, nbytes: int) -> memoryview:
        """Put an open file in its place, read-only, and return its bytes; its size was checked before."""
        start = int(self.starts[number])
        place = self._bytes.ctypes.data + start
        if _system_mmap()(place, nbytes, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0) != place:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return memoryview(self._reserved)[start : start + nbytes]

    @property
    def memory(self) -> memoryview:
        """Return the bytes of the whole stretch."""
        return memoryview(self._reserved)

    def windows(self, shape: tuple[int, int], dtype: np.dtype[Any], step: int) -> np.ndarray:
        """Return an array of this shape for every multiple of `step` bytes in the stretch: they overlap."""
        width = shape[1] * dtype.itemsize
        count = max(0, (len(self._bytes) - shape[0] * width) // step + 1)
        return np.ndarray((count, *shape), dtype, self._reserved, strides=(step, width, dtype.itemsize))


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
