"""A block of memory that two processes share: it has no name, may grow, never shrinks, and is gone with its users."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from typing import Self

MAX_BLOCK_BYTES = 4 << 30
_LEAST_BYTES = 1 << 20
_STEP_BYTES = 1 << 20


class SharedBlock:
    """A sealed memfd and this process's map of it.

    It cannot be shrunk, by the seal: else whoever shares it could end this process with a SIGBUS.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._lock = threading.Lock()  # one thread may close it while another asks for a view

    @classmethod
    def create(cls) -> Self:
        """Make an empty block; its pages are taken as they are written."""
        descriptor = os.memfd_create("mmpipe-media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        os.ftruncate(descriptor, _LEAST_BYTES)
        return cls(descriptor)

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Take a block that came from another process; raise ValueError where it could be shrunk."""
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        except OSError as error:
            raise ValueError("the descriptor is no memory that can be shared safely") from error
        if not seals & fcntl.F_SEAL_SHRINK:
            raise ValueError("the memory could be shrunk while it is read")
        return cls(descriptor)

    def view(self, offset: int, nbytes: int) -> memoryview:
        """Return a part of the block, which grows where it must; raise ValueError beyond the largest block."""
        end = offset + nbytes
        if offset < 0 or nbytes < 0 or end > MAX_BLOCK_BYTES:
            raise ValueError(f"bytes {offset} to {end} of a block that may have {MAX_BLOCK_BYTES}")
        with self._lock:
            if self.descriptor < 0:
                raise ValueError("the block is closed")
            if self._map is None or len(self._map) < end:
                self._map = self._map_at_least(end)  # the old map goes with the last view of it
            return memoryview(self._map)[offset:end]

    def close(self) -> None:
        """Give the memory back, as soon as no view of it is left."""
        with self._lock:
            self._map = None
            if self.descriptor >= 0:
                os.close(self.descriptor)
                self.descriptor = -1

    def _map_at_least(self, end: int) -> mmap.mmap:
        size = os.fstat(self.descriptor).st_size
        if size < end:
            size = min(-(-end // _STEP_BYTES) * _STEP_BYTES, MAX_BLOCK_BYTES)
            os.ftruncate(self.descriptor, size)
        if size > MAX_BLOCK_BYTES:
            raise ValueError(f"a block of {size} bytes; it may have {MAX_BLOCK_BYTES}")
        return mmap.mmap(self.descriptor, size)
