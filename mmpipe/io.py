"""Durable file operations and canonical bytes: the one place that knows how a write survives a crash.

A path in an object store (`RemotePath`) is written by conditional puts: no link, no rename, nothing to sync.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmpipe import remote
from mmpipe.cache import cached_copy, drop_copy, drop_decoded
from mmpipe.errors import ConfigError
from mmpipe.faults import fail_if_asked
from mmpipe.remote import RemotePath

YOUNG_S = 600.0  # well below the hour by which gc spares what is older than the oldest lease
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


# --------------------------------------------------------------------------- names


def escape_name(name: str | bytes) -> str:
    """Return a file name as valid, printable UTF-8 text that `unescape_name` turns back into the exact bytes."""
    out: list[str] = []
    for character in os.fsencode(name).decode("utf-8", "surrogateescape"):
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            out.append(f"%{code - 0xDC00:02X}")
        elif character == "%" or not character.isprintable():
            out.extend(f"%{byte:02X}" for byte in character.encode())
        else:
            out.append(character)
    return "".join(out)


def unescape_name(name: str) -> bytes:
    """Return the file-system bytes of an escaped name."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), name.encode())


# --------------------------------------------------------------------------- canonical bytes


def canonical_json(value: Any) -> bytes:
    """Return the one JSON form of a value: sorted keys, no spaces lost to taste, no NaN, one final newline."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    if isinstance(path, RemotePath):
        return remote.sha256_remote(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --------------------------------------------------------------------------- where bytes lie

StorePath = Path  # a place in a store: a local path, or a `RemotePath`, which is a `Path` too


def local_file(path: StorePath) -> Path:
    """Return a file on this machine that has the bytes of a committed, immutable file."""
    return cached_copy(path) if isinstance(path, RemotePath) else path


def list_names(folder: StorePath, *, folders: bool = True) -> list[str]:
    """Return the names in a folder, with or without those of folders; none where the folder is not there."""
    if isinstance(folder, RemotePath):
        return [name for name, is_folder in folder.entries() if folders or not is_folder]
    try:
        if folders:
            return os.listdir(folder)
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def read_range(path: StorePath, start: int, nbytes: int) -> bytes:
    """Return some bytes of a committed, immutable file, without the rest."""
    if isinstance(path, RemotePath):
        return remote.read_remote_range(path, start, nbytes)
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(nbytes)


# --------------------------------------------------------------------------- durable writes


def write_durable(path: Path, data: bytes) -> None:
    """Write a new file and make its bytes durable; the name is durable only after `sync_directory`."""
    if isinstance(path, RemotePath):
        if not remote.create(path, data):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        return
    with _naming(path), open(path, "xb") as file:
        fail_if_asked("write", path)
        file.write(data)
        file.flush()
        fail_if_asked("fsync", path)
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make the bytes of an already written file durable."""
    if isinstance(path, RemotePath):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fail_if_asked("fsync", path)
        with _naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    if isinstance(path, RemotePath):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fail_if_asked("fsync", path)
        with _naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_if_absent(source: Path, target: Path) -> bool:
    """Give durable `source` the name `target`; return False, changing nothing, where the name is taken.

    A hard link, because a rename would overwrite: one creator of a name wins on every POSIX file system. In an object
    store a put on the condition that nothing is there; `source` is a local file either way.
    """
    if isinstance(target, RemotePath):
        fail_if_asked("link", target)
        won = remote.create_from_file(target, source)
        if won:
            fail_if_asked("linked", target)
        return won
    try:
        fail_if_asked("link", target)
        os.link(source, target)
    except FileExistsError:
        return False
    fail_if_asked("linked", target)  # the commit that landed but reports failure
    sync_directory(target.parent)
    return True


def replace_with_link(source: Path, target: Path, staging: Path) -> bool:
    """Make `target` show the bytes of `source`; return False, writing nothing, where it does already.

    A hard link where the file system has them, else a copy. The temporary name lies in `staging`, on the same file
    system: readers of a folder choke on a name they do not expect. Renaming a link over another link of the same
    inode does nothing and leaves the temporary name, so ask first and unlink after. In an object store a copy, which
    the store makes itself.
    """
    if isinstance(source, RemotePath) and isinstance(target, RemotePath):
        fail_if_asked("replace", target)
        return remote.show_copy(source, target)
    if _shows(source, target):
        return False
    temporary = staging / f"{uuid.uuid4().hex}.link"
    try:
        _link_or_copy(source, temporary)
        fail_if_asked("replace", target)
        os.replace(temporary, target)
    finally:
        remove_file(temporary)
    return True


def remove_file(path: Path) -> None:
    """Remove a name, if it is there, and this machine's copy of a remote one."""
    fail_if_asked("unlink", path)
    if isinstance(path, RemotePath):
        drop_copy(path)
    else:
        drop_decoded(path.name)
    path.unlink(missing_ok=True)


def keep_young(path: StorePath) -> None:
    """See to it that a file that is wanted again is young, so that `mmpipe gc` leaves it alone.

    A file that is young has no new stamp: whoever needs it holds a lease, and gc spares what is younger than leases.
    """
    if isinstance(path, RemotePath):
        remote.make_young(path, YOUNG_S)
    elif time.time() - path.stat().st_mtime >= YOUNG_S:
        restamp(path)


def restamp(path: Path) -> None:
    """Stamp a file with the time of now, by its file system's own clock."""
    with suppress(PermissionError):  # another user's file: its age counts from when they wrote it
        os.utime(path)


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a small mutable file atomically and durably."""
    replace_durable(path, data, path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp"))


def replace_durable(path: Path, data: bytes, temporary: Path) -> None:
    """Replace a small mutable file by way of a new name on the same file system, where a kill may leave it."""
    if isinstance(path, RemotePath):
        fail_if_asked("replace", path)
        remote.put(path, data)
        return
    write_durable(temporary, data)
    fail_if_asked("replace", path)
    os.replace(temporary, path)
    sync_directory(path.parent)


def make_directory(path: Path) -> Path:
    """Make a directory and its parents; say what to do where the place is not writable."""
    if isinstance(path, RemotePath):
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (PermissionError, NotADirectoryError, FileExistsError, FileNotFoundError) as error:
        raise ConfigError(
            f"cannot make the folder {path}: {error.strerror}. Choose another `store`, or make this one writable."
        ) from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise ConfigError(f"cannot make the folder {path}: the file system is read-only.") from error
        raise
    return path


def make_durable_directory(path: Path) -> Path:
    """Make a directory, and make its name and those of the parents that were missing durable."""
    if isinstance(path, RemotePath):
        return path
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for path in reversed(missing):
        fail_if_asked("mkdir", path)
        sync_directory(make_directory(path).parent)
    return path


def require_writable(path: Path) -> None:
    """Refuse a folder that cannot be written, before any work is done."""
    if isinstance(path, RemotePath):
        remote.require_conditions(path)
        return
    make_directory(path)
    probe = path / f".probe-{uuid.uuid4().hex}"
    try:
        probe.touch()
        os.link(probe, probe.with_suffix(".link"))
    except OSError as error:
        raise ConfigError(
            f"the store {path} cannot be written ({error.strerror}). "
            "Choose another `store`, free some space, or make this one writable; it also needs hard links."
        ) from error
    finally:
        for name in (probe, probe.with_suffix(".link")):
            name.unlink(missing_ok=True)


def _shows(source: Path, target: Path) -> bool:
    """Say whether a name is a link to the source, or the copy that `_link_or_copy` made of it."""
    try:
        there, wanted = os.lstat(target), os.stat(source)
    except FileNotFoundError:
        return False
    if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
        return True
    return there.st_nlink == 1 and _copy_stamp(there) == _copy_stamp(wanted)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        fail_if_asked("link", target)
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP):
            raise
        write_durable(target, source.read_bytes())
        stat = os.stat(source)
        os.chmod(target, stat.st_mode & 0o777)
        os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that `_shows` knows it again


def _copy_stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mode, stat.st_size, stat.st_mtime_ns


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the path into errors of calls that know only a descriptor."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
