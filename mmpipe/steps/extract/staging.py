"""The folder in which a worker stages a shard: locked while the worker lives, so that one left behind is known."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmpipe.io import make_directory

_PREFIX = "shard-"


@contextmanager
def shard_staging(folder: Path) -> Iterator[Path]:
    """Make a folder of our own below another, and remove it at the end, whatever happens but a kill."""
    name = f"{_PREFIX}{uuid.uuid4().hex}"
    hidden = make_directory(folder / f".{name}")
    descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: what is left behind is the collection's
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        staging = hidden.rename(folder / name)  # under this name nobody finds it without the lock
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(descriptor)


def sweep_staging(folder: Path) -> int:
    """Remove the folders of workers that were killed; return how many. What cannot be locked is in use."""
    return sum(_remove_unlocked(path) for path in sorted(folder.glob(f"{_PREFIX}*")))


def _remove_unlocked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # its worker was done just now
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
