"""Objects of a remote store: conditional writes, copies inside it, ranges. Each is written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, MmpipeError, TransientError
from mmpipe.remote import client
from mmpipe.remote.path import RemotePath

PART_BYTES = 50 << 20  # an object of two of these or more is sent in parts, and is there when all of them are
_CHUNK = 1 << 22
_MAX_ATTEMPTS = 20
CONDITION_FAILED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")  # the last: two at once
one_change_at_a_time = threading.Lock()  # only for file systems of this process, which know no conditions


def create(path: RemotePath, data: bytes) -> bool:
    """Make an object; return False, changing nothing, where the name is taken by other bytes."""

    def send() -> None:
        client.file_system(path).pipe_file(str(path), data, mode="create")

    return _create(path, send, len(data), hashlib.sha256(data).hexdigest())


def create_from_file(path: RemotePath, source: Path) -> bool:
    """Make an object of a local file; return False, changing nothing, where the name is taken.

    A name that is taken before anything is sent costs one question. Where the answer to a put was lost, the same
    bytes under the name are ours: its writer may go on.
    """
    if path.is_file():
        return False
    with open(source, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def send() -> None:
        client.file_system(path).put_file(str(source), str(path), mode="create", **_sending(path, sha256))

    return _create(path, send, source.stat().st_size, sha256)


def put(path: RemotePath, data: bytes) -> None:
    """Write an object, in the place of what is there: readers see the one or the other."""
    with client.speaking(path):
        client.file_system(path).pipe_file(str(path), data)


def read_stamped(path: RemotePath) -> tuple[bytes, str] | None:
    """Return an object's bytes and the stamp that `swap` wants; None where it is not there."""
    try:
        if client.is_s3(path):
            with client.speaking(path):
                return client.get_s3(path)
        before = path.stat()
        data = path.read_bytes()
        if path.stat() != before:
            raise TransientError(f"{path} changed while it was read. Nothing is lost: run again.")
    except FileNotFoundError:
        return None
    return data, before.etag or hashlib.sha256(data).hexdigest()


def swap(path: RemotePath, data: bytes, stamp: str) -> bool:
    """Write an object if it is still the one with this stamp; return False, changing nothing, where it is not."""
    if path.parts[0] == "memory:":
        return _swap_here(path, data, stamp)
    try:
        with client.speaking(path):
            client.file_system(path).pipe_file(str(path), data, IfMatch=stamp)
    except (FileExistsError, FileNotFoundError):
        return False
    except OSError as error:
        if client.code_of(error) in CONDITION_FAILED:
            return False
        raise
    return True


def change_object(path: RemotePath, make: Callable[[bytes | None], bytes]) -> None:
    """Write what `make` makes of an object's bytes, or of None where it is not there; who comes between is heard."""
    for _ in range(_MAX_ATTEMPTS):
        found = read_stamped(path)
        data = make(found[0] if found else None)
        if create(path, data) if found is None else swap(path, data, found[1]):
            return
    raise TransientError(f"{path} is changed by many at once. Nothing is lost: run again.")


def show_copy(source: RemotePath, target: RemotePath) -> bool:
    """Make `target` a copy of the immutable `source`, within the store; return False where it is one already."""
    wanted = source.info()
    try:
        there = target.info()
    except FileNotFoundError:
        there = {}
    if there and there["size"] == wanted["size"] and _same_bytes(source, wanted, target, there):
        return False
    with client.speaking(target):
        client.file_system(target).copy(str(source), str(target))
    return True


def require_conditions(path: RemotePath) -> None:
    """Refuse an object store that cannot be written, or that ignores conditions: two writers would lose work."""
    probe = path / f".probe-{os.urandom(16).hex()}"
    try:
        if not create(probe, b"1") or create(probe, b"2"):
            raise ConfigError(
                f"the object store at {path} ignores `If-None-Match`: two writers would overwrite each other. "
                "Choose one with conditional writes for `store`: AWS S3, or a server that has them."
            )
        if (found := read_stamped(probe)) is None or not swap(probe, b"3", found[1]) or swap(probe, b"4", found[1]):
            raise ConfigError(
                f"the object store at {path} ignores `If-Match`: a dead holder's lease could not be taken over "
                "safely. Choose one with conditional writes for `store`."
            )
    except OSError as error:
        raise ConfigError(
            f"the store {path} cannot be written ({error}). Does the bucket exist, and may these credentials write?"
        ) from error
    finally:
        with suppress(OSError, MmpipeError):  # the fault above says it
            probe.unlink(missing_ok=True)


# --------------------------------------------------------------------------- reads


def sha256_remote(path: RemotePath) -> str:
    """Return the sha256 of an object's bytes, a piece at a time."""
    digest, size = hashlib.sha256(), path.stat().st_size
    for start in range(0, size, _CHUNK):
        digest.update(read_remote_range(path, start, min(_CHUNK, size - start)))
    return digest.hexdigest()


def read_remote_range(path: RemotePath, start: int, nbytes: int) -> bytes:
    """Return some bytes of an object by one ranged request."""
    if nbytes <= 0:
        return b""
    with client.speaking(path):
        data: bytes = client.file_system(path).cat_file(str(path), start=start, end=start + nbytes)
        return data


def download(path: RemotePath, target: Path) -> None:
    """Write an object's bytes to a new file of this machine."""
    with client.speaking(path):
        client.file_system(path).get_file(str(path), str(target))


# --------------------------------------------------------------------------- below


def _create(path: RemotePath, send: Callable[[], None], nbytes: int, sha256: str) -> bool:
    """Send a put that makes an object; the answer may be lost, and the client may have sent it twice."""
    try:
        with client.speaking(path):
            send()
        return True
    except (TransientError, OSError) as error:
        taken = isinstance(error, FileExistsError) or client.code_of(error) in CONDITION_FAILED
        if path.is_file():
            if path.stat().st_size == nbytes and sha256_remote(path) == sha256:
                return True
            if taken:
                return False
        if taken:
            raise TransientError(f"{path} was written and removed at once by others. Run again.") from error
        raise


def _swap_here(path: RemotePath, data: bytes, stamp: str) -> bool:
    with one_change_at_a_time:
        found = read_stamped(path)
        if found is None or found[1] != stamp:
            return False
        put(path, data)
        return True


def _sending(path: RemotePath, sha256: str) -> dict[str, Any]:
    """Return how an object is sent, with its digest beside it: the etag of one sent in parts is not its copy's."""
    return {"Metadata": {"sha256": sha256}, "chunksize": PART_BYTES} if client.is_s3(path) else {}


def _same_bytes(source: RemotePath, wanted: dict[str, Any], target: RemotePath, there: dict[str, Any]) -> bool:
    """Say whether two objects of one size hold the same, from the cheapest proof."""
    if wanted.get("ETag") and wanted.get("ETag") == there.get("ETag"):
        return True
    return _kept_digest(target) == _kept_digest(source)


def _kept_digest(path: RemotePath) -> str:
    """Return the digest that lies beside an object, or else that of its bytes."""
    if client.is_s3(path):
        with client.speaking(path):
            kept = client.file_system(path).metadata(str(path)).get("sha256")
        if kept:
            return str(kept)
    return sha256_remote(path)
