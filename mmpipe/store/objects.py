"""Immutable bytes, named by their sha256: what manifests point at and our readers open."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import (
    keep_young,
    make_directory,
    make_durable_directory,
    put_if_absent,
    remove_file,
    sha256_file,
    sync_directory,
    sync_file,
    write_durable,
)
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import FileEntry

OBJECT_MODE = 0o444  # a view's name is a link to the same inode: nobody may write through it


def put_object(dataset: DatasetLayout, staged: Path) -> tuple[str, int]:
    """Give a staged file its place among the objects, durably, and take its staged name away.

    Return (sha256, nbytes) of the bytes read back. An object that is there already is as good, if it is whole;
    StoreError where it is not.
    """
    os.chmod(staged, OBJECT_MODE)  # whatever the umask
    sync_file(staged)
    sha256, nbytes = sha256_file(staged), staged.stat().st_size
    target = dataset.object(sha256)
    make_durable_directory(target.parent)
    while not put_if_absent(staged, target):
        try:
            keep_young(target)  # before the look: what is young when it is whole is not collected as garbage
            _require_whole(target, sha256, nbytes)
        except FileNotFoundError:
            continue  # it was collected just now
        sync_directory(target.parent)  # who put it there may have died before this
        break
    remove_file(staged)
    return sha256, nbytes


def put_bytes(dataset: DatasetLayout, data: bytes) -> tuple[str, int]:
    """Put bytes among the objects; return (sha256, nbytes)."""
    staged = stage_path(dataset)
    try:
        write_durable(staged, data)
        return put_object(dataset, staged)
    finally:
        staged.unlink(missing_ok=True)


def stage_path(dataset: DatasetLayout) -> Path:
    """Return a new name in the folder of unfinished work."""
    return make_directory(dataset.staging) / uuid.uuid4().hex


def has_object(dataset: DatasetLayout, entry: FileEntry) -> bool:
    """Say whether an object is there with the right size; its bytes are not read."""
    try:
        return dataset.object(entry.sha256).stat().st_size == entry.nbytes
    except FileNotFoundError:
        return False


def read_object(dataset: DatasetLayout, entry: FileEntry) -> bytes:
    """Return an object's bytes, verified; StoreError where they are missing or changed."""
    path = dataset.object(entry.sha256)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path}, the bytes of {entry.name}, is missing. Run `mmpipe verify`.") from error
    if len(data) != entry.nbytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise StoreError(f"{path}, the bytes of {entry.name}, has changed on the disk. Run `mmpipe verify`.")
    return data


def _require_whole(path: Path, sha256: str, nbytes: int) -> None:
    if path.stat().st_size != nbytes or sha256_file(path) != sha256:
        raise StoreError(
            f"{path} has changed on the disk: it no longer holds the bytes it is named after. "
            "Run `mmpipe verify`, remove the damaged object, and run again: it will be made anew."
        )
