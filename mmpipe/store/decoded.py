"""Vectors of a Parquet shard as plain numbers on this machine's disk, so that only the first process decodes them.

A file is named by the digest of the object it was made from, and begins with a digest of its own. It is never needed:
one that is damaged or cut is made anew, and where none can be written the vectors are decoded in memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.cache import cache_bound, decoded_file, shrink_cache

LEAST_BYTES = 1 << 20  # a smaller shard is decoded as fast as a file is opened
_MAGIC = b"mmpipe vectors 1".ljust(32)
_NOTED_S = 3600.0
_HEADER_BYTES = 64  # the magic and the sha256 of the numbers
_checked: set[tuple[str, int, int, int]] = set()


def find_decoded(sha256: str, dtype: np.dtype[Any], count: int, verify: bool) -> np.ndarray | None:
    """Return the numbers of an object as a mapped, read-only array; None where they have to be decoded."""
    if count * dtype.itemsize < LEAST_BYTES:
        return None
    path = decoded_file(sha256)
    try:
        with open(path, "rb") as file:
            _note_use(file.fileno())
            status = os.fstat(file.fileno())
            if status.st_size != _HEADER_BYTES + count * dtype.itemsize:
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return None
    identity = (sha256, status.st_dev, status.st_ino, status.st_mtime_ns)
    if mapped[:32] != _MAGIC or (verify and identity not in _checked and not _whole(mapped)):
        return None
    if verify:
        _checked.add(identity)
    return np.frombuffer(mapped, dtype, count=count, offset=_HEADER_BYTES)


def keep_decoded(sha256: str, numbers: np.ndarray) -> None:
    """Keep decoded numbers for the next process, if this machine has a place for them."""
    if numbers.nbytes < LEAST_BYTES:
        return
    path = decoded_file(sha256)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if numbers.nbytes <= cache_bound():
            _write(path, numbers)
            shrink_cache(keep=path)


def _note_use(descriptor: int) -> None:
    """Make a file young that has not been used for long: the oldest go first."""
    if time.time() - os.fstat(descriptor).st_mtime > _NOTED_S:
        with suppress(OSError):
            os.utime(descriptor)


def _write(path: Path, numbers: np.ndarray) -> None:
    """Write a file whole or not at all; of two processes that do so at once, either's is right."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    data = np.ascontiguousarray(numbers).view(np.uint8).data
    try:
        with open(temporary, "xb") as file:
            file.write(_MAGIC + hashlib.sha256(data).digest())
            file.write(data)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _whole(mapped: mmap.mmap) -> bool:
    view = memoryview(mapped)
    return hashlib.sha256(view[_HEADER_BYTES:]).digest() == view[32:_HEADER_BYTES]
