"""A new file that is written in large pieces, and hashed on the way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

_HASHED_BYTES = 256 << 10  # what is hashed at once is still in the cache of a core
# A whole huge page at its own place: Linux then keeps it as one, and who maps the file needs 512 times fewer entries.
_WRITTEN_BYTES = 2 << 20


class HashedFile:
    """Append small parts; memory holds one piece of them."""

    def __init__(self, path: Path) -> None:
        """Make the file; FileExistsError where it is there."""
        self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115  closed by close
        self._hasher = hashlib.sha256()
        self._piece = memoryview(bytearray(_WRITTEN_BYTES))
        self._filled = 0
        self._hashed = 0
        self._written = 0

    @property
    def position(self) -> int:
        """Return the number of bytes so far."""
        return self._written + self._filled

    def append(self, part: bytes | memoryview) -> None:
        """Add bytes; they may change afterwards."""
        end = self._filled + len(part)
        while end >= _WRITTEN_BYTES:
            room = _WRITTEN_BYTES - self._filled
            self._piece[self._filled :] = part[:room]
            self._filled = _WRITTEN_BYTES
            self._flush()
            part = part[room:]
            end = len(part)
        self._piece[self._filled : end] = part
        self._filled = end
        if end - self._hashed >= _HASHED_BYTES:
            self._hash()

    def finish(self) -> str:
        """Write what is left, close the file and return its sha256."""
        self._flush()
        self.close()
        return self._hasher.hexdigest()

    def close(self) -> None:
        """Close the file, whatever is still to write."""
        self._file.close()

    def _hash(self) -> None:
        self._hasher.update(self._piece[self._hashed : self._filled])
        self._hashed = self._filled

    def _flush(self) -> None:
        self._hash()
        left = self._piece[: self._filled]
        self._written += self._filled
        self._filled = self._hashed = 0
        while left:  # a system call may write less
            left = left[self._file.write(left) :]
