"""The age of objects by the store's own clock: making one young again, and removing one that nobody made young.

A delete knows one condition, the etag. So an object is made young by a copy onto itself that gives it another etag
(sent in one part, or as a whole): whoever saw it old can no longer remove it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from mmpipe.errors import ConfigError, MmpipeError
from mmpipe.remote import client
from mmpipe.remote.objects import CONDITION_FAILED, create, one_change_at_a_time, put
from mmpipe.remote.path import RemotePath

_WHOLE_BYTES = 5 << 30  # more than that is copied in blocks
_BLOCK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload in parts that nobody has finished: its parts are stored, and nobody sees them."""

    path: RemotePath
    identity: str
    started_s: float


def store_now(path: RemotePath) -> float:
    """Return the time by the clock of the store that holds an object, as it answers a question about it."""
    with client.speaking(path):
        return _now_of(client.look_s3(path)) if client.is_s3(path) else time.time()


def make_young(path: RemotePath, younger_than_s: float) -> None:
    """Stamp an object with the time of now unless it is young; who may only read leaves it as it is."""
    with suppress(PermissionError), client.speaking(path):
        if not client.is_s3(path):
            if time.time() - path.stat().st_mtime >= younger_than_s:
                put(path, path.read_bytes())
            return
        seen = client.look_s3(path)
        if _now_of(seen) - seen["LastModified"].timestamp() < younger_than_s:
            return
        try:
            _copy_onto_itself(path, seen)
        except OSError as error:
            if client.code_of(error) not in CONDITION_FAILED:  # somebody made it young just now
                raise


def remove_unchanged(path: RemotePath, stamp: str) -> bool:
    """Remove an object if it is still the one with this stamp; return False, changing nothing, where it is not."""
    try:
        if not client.is_s3(path):
            return _remove_here(path, stamp)
        with client.speaking(path):
            system = client.file_system(path)
            system.call_s3("delete_object", **client.place_of(path), IfMatch=stamp)
            system.invalidate_cache(str(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        if client.code_of(error) in CONDITION_FAILED:
            return False
        raise
    return True


def require_conditional_delete(root: RemotePath) -> None:
    """Refuse an object store that deletes whatever the condition says: what a writer meets again could be lost."""
    probe = root / f".probe-{os.urandom(16).hex()}"
    create(probe, b"1")
    before = probe.stat().stamp
    try:
        put(probe, b"22")
        if remove_unchanged(probe, before):
            raise ConfigError(
                f"the object store at {root} ignores `If-Match` on deletes: gc could remove what a writer has just "
                "found there. Nothing was removed. `mmpipe gc` without --delete still says what could go; copy the "
                "store to a folder, or to an object store with conditional deletes (AWS S3), to shrink it."
            )
    finally:
        with suppress(OSError, MmpipeError):
            probe.unlink(missing_ok=True)


def list_uploads(root: RemotePath) -> Iterator[Upload]:
    """Yield the uploads in parts below a path that were begun and neither finished nor given up."""
    if not client.is_s3(root):
        return
    system = client.file_system(root)
    bucket, prefix, _ = system.split_path(str(root))
    following: dict[str, str] = {}
    while True:
        with client.speaking(root):
            found = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/", **following)
        for entry in found.get("Uploads", ()):
            path = root / entry["Key"].removeprefix(f"{prefix}/")
            yield Upload(path=path, identity=entry["UploadId"], started_s=entry["Initiated"].timestamp())
        if not found.get("IsTruncated"):
            return
        following = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}


def abort_upload(upload: Upload) -> None:
    """Give up an upload in parts; one that has just been finished or given up is left alone."""
    with suppress(FileNotFoundError), client.speaking(upload.path):
        client.file_system(upload.path).call_s3(
            "abort_multipart_upload", **client.place_of(upload.path), UploadId=upload.identity
        )


# --------------------------------------------------------------------------- below


def _copy_onto_itself(path: RemotePath, seen: dict[str, Any]) -> None:
    system = client.file_system(path)
    source = {"CopySource": client.place_of(path), "CopySourceIfMatch": seen["ETag"]}
    kept = {"Metadata": seen.get("Metadata", {})}
    if "-" in seen["ETag"] and seen["ContentLength"] <= _WHOLE_BYTES:
        system.call_s3("copy_object", **client.place_of(path), **source, **kept, MetadataDirective="REPLACE")
        return
    upload = system.call_s3("create_multipart_upload", **client.place_of(path), **kept)["UploadId"]
    try:
        parts = []
        for number, ranged in enumerate(_ranges(seen), start=1):
            made = system.call_s3(
                "upload_part_copy", **client.place_of(path), **source, **ranged, PartNumber=number, UploadId=upload
            )
            parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
        system.call_s3(
            "complete_multipart_upload", **client.place_of(path), UploadId=upload, MultipartUpload={"Parts": parts}
        )
    except BaseException:
        with suppress(OSError):
            system.call_s3("abort_multipart_upload", **client.place_of(path), UploadId=upload)
        raise


def _ranges(seen: dict[str, Any]) -> list[dict[str, str]]:
    """Return the parts of a copy: one, or of a large object another number than it was sent in."""
    nbytes = seen["ContentLength"]
    if nbytes <= _WHOLE_BYTES:
        return [{}]
    block = _BLOCK_BYTES
    if seen["ETag"].strip('"').endswith(f"-{-(-nbytes // block)}"):
        block //= 2
    return [{"CopySourceRange": f"bytes={start}-{min(start + block, nbytes) - 1}"} for start in range(0, nbytes, block)]


def _remove_here(path: RemotePath, stamp: str) -> bool:
    with one_change_at_a_time:
        if path.stat().stamp != stamp:
            return False
        path.unlink()
        return True


def _now_of(answer: dict[str, Any]) -> float:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
