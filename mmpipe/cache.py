"""What this machine keeps up to a bound: copies of remote objects, and decoded vectors.

`MMPIPE_CACHE` says where, `MMPIPE_CACHE_BYTES` how much; what was not used for longest goes first.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.remote import RemotePath, RemoteStat, cache_root, download

_DEFAULT_BYTES = 50_000_000_000
_DISK_SHARE = 5  # a fifth of the disk, where that is less
_DIGEST = re.compile("[0-9a-f]{64}")
_IN_USE_S = 10.0  # a copy that somebody is just opening stays


def cached_copy(path: RemotePath) -> Path:
    """Return a file with an object's bytes; FileNotFoundError where the object is not there any more.

    The name holds the object's etag: bytes that were made anew are fetched anew. Who opens it checks the digest.
    """
    copy = _place(path, path.stat())
    try:
        os.utime(copy)  # used now: the oldest goes first
        return copy
    except FileNotFoundError:
        pass
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_name(f".{uuid.uuid4().hex}.part")
    try:
        download(path, temporary)
        os.replace(temporary, copy)
    finally:
        temporary.unlink(missing_ok=True)
    shrink_cache(keep=copy)
    return copy


def drop_copy(path: RemotePath) -> None:
    """Remove what was made of an object that is about to be removed."""
    drop_decoded(path.name)
    with suppress(FileNotFoundError):
        _place(path, path.stat()).unlink(missing_ok=True)


def decoded_file(sha256: str) -> Path:
    """Return where the decoded numbers of an object are kept."""
    return cache_root() / "decoded" / sha256[:2] / sha256


def drop_decoded(name: str) -> None:
    """Remove the decoded numbers of an object of this name: what is forgotten leaves no copy here."""
    if _DIGEST.fullmatch(name):
        with suppress(OSError):
            decoded_file(name).unlink(missing_ok=True)


def shrink_cache(keep: Path | None = None) -> int:
    """Remove the files that were not used for longest until the rest fits; return the bytes that are left."""
    bound, now_s = cache_bound(), time.time()
    copies = []
    for path in (*_folder().glob("*/*"), *(cache_root() / "decoded").glob("*/*")):
        with suppress(FileNotFoundError):
            status = path.stat()
            copies.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in copies)
    for used_s, size, path in sorted(copies):
        if total <= bound:
            break
        if path != keep and now_s - used_s > _IN_USE_S:
            path.unlink(missing_ok=True)
            total -= size
    return total


def cache_bound() -> int:
    """Return how many bytes all of it may take."""
    wish = os.environ.get("MMPIPE_CACHE_BYTES")
    if not wish:
        return min(_DEFAULT_BYTES, shutil.disk_usage(_folder()).total // _DISK_SHARE)
    if not wish.isdecimal():
        raise ConfigError(f"MMPIPE_CACHE_BYTES is a number of bytes, got {wish!r}")
    return int(wish)


def _folder() -> Path:
    folder = cache_root() / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _place(path: RemotePath, stat: RemoteStat) -> Path:
    name = hashlib.sha256(f"{path}\n{stat.etag}\n{stat.st_size}\n{stat.st_mtime}".encode()).hexdigest()
    return _folder() / name[:2] / name
