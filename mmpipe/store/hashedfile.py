"""A new file that is written in large pieces, and hashed on the way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 256 << 10  # fits the cache of a core with room to spare; a system call costs as much as 2 KB of writing


class HashedFile:
    """Append small parts; memory holds one piece of them."""

    def __init__(self, path: Path) -> None:
        """Make the file; FileExistsError where it is there."""
        self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115  closed by close
        self._hasher = hashlib.sha256()
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._filled = 0
        self._written = 0

    @property
    def position(self) -> int:
        """Return the number of bytes so far."""
        return self._written + self._filled

    def append(self, part: bytes | memoryview) -> None:
        """Add bytes; they may change afterwards."""
        end = self._filled + len(part)
        if end > _PIECE_BYTES:
            self._flush()
            end = len(part)
            if end > _PIECE_BYTES:
                self._write(part)
                return
        self._piece[self._filled : end] = part
        self._filled = end

    def finish(self) -> str:
        """Write what is left, close the file and return its sha256."""
        self._flush()
        self.close()
        return self._hasher.hexdigest()

    def close(self) -> None:
        """Close the file, whatever is still to write."""
        self._file.close()

    def _flush(self) -> None:
        self._write(self._piece[: self._filled])
        self._filled = 0

    def _write(self, part: bytes | memoryview) -> None:
        self._hasher.update(part)
        self._written += len(part)
        left = memoryview(part)
        while left:  # a system call writes 2 GiB at most
            left = left[self._file.write(left) :]
