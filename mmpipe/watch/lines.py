"""Append lines to a file that several processes share: each line is one write, so that none is ever torn."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_MODE = 0o640  # lines may name files of a corpus


def append_line(path: Path, line: bytes) -> None:
    """Append a line; one that a full disk cut short before is ended first. Raise OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # of two that find a line cut short, one ends it
        size = os.fstat(descriptor).st_size
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if is_cut else b"") + line + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{path} took only a part of a line: the disk is full")
    finally:
        os.close(descriptor)
