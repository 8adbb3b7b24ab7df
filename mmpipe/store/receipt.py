"""What a finished shard leaves before its manifest names it, so that a killed run goes on where it was.

A receipt is a promise about durable objects and nothing else: no reader ever looks at one, and one whose objects
are gone or whose bytes are damaged counts as absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import (
    StorePath,
    canonical_json,
    keep_young,
    make_durable_directory,
    put_if_absent,
    remove_file,
    write_durable,
)
from mmpipe.remote import RemotePath
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, ShardEntry, shard_from_json, shard_to_json
from mmpipe.store.objects import has_object, stage_path
from mmpipe.types import Drop, digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A finished shard, and the clips it could not use: the quarantine must come out the same after a kill."""

    entry: ShardEntry
    drops: tuple[Drop, ...] = ()


def put_receipt(dataset: DatasetLayout, partition: str, fingerprint: str, receipt: Receipt) -> None:
    """Note a shard whose objects are durable; the first note of the same inputs and fingerprint stays."""
    path = _path(dataset, partition, fingerprint, receipt.entry.number, receipt.entry.inputs)
    staged = stage_path(dataset)
    make_durable_directory(path.parent)
    try:
        write_durable(staged, canonical_json(asdict(receipt) | {"entry": shard_to_json(receipt.entry)}))
        put_if_absent(staged, path)
    finally:
        remove_file(staged)


def read_receipt(dataset: DatasetLayout, partition: str, fingerprint: str, number: int, inputs: str) -> Receipt | None:
    """Return the note of a finished shard, if all its objects are there; a void note is removed."""
    path = _path(dataset, partition, fingerprint, number, inputs)
    try:
        receipt = _parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, StoreError):
        receipt = None
    if receipt is not None and all(_is_there_to_stay(dataset, entry) for entry in receipt.entry.files):
        return receipt
    remove_file(path)
    return None


def list_receipts(dataset: DatasetLayout) -> frozenset[str]:
    """Return the names of all notes of the store, whatever dataset they are for."""
    folder = dataset.staging / "receipts"
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def receipt_paths(layout: StoreLayout) -> tuple[StorePath, ...]:
    """Return the notes of the store, whatever dataset they are for."""
    return tuple(sorted((layout.staging / "receipts").glob("*.json")))


def noted_objects(layout: StoreLayout) -> frozenset[str]:
    """Return the digests of all objects that a receipt speaks of; a void note speaks of none."""
    found: set[str] = set()
    for path in receipt_paths(layout):
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, StoreError):  # committed meanwhile, or void
            found.update(file.sha256 for file in _parse(path.read_bytes()).entry.files)
    return frozenset(found)


def drop_receipts(dataset: DatasetLayout, partition: str, fingerprint: str, entries: Iterable[ShardEntry]) -> None:
    """Forget the notes of shards that a manifest names now."""
    for entry in entries:
        path = _path(dataset, partition, fingerprint, entry.number, entry.inputs)
        if os.path.lexists(path):
            remove_file(path)


def _is_there_to_stay(dataset: DatasetLayout, entry: FileEntry) -> bool:
    """Say whether an object is there; of a remote store made young, as gc on another machine sees no note of ours."""
    path = dataset.object(entry.sha256)
    if isinstance(path, RemotePath):
        with suppress(FileNotFoundError):
            keep_young(path)
    return has_object(dataset, entry)


def _path(dataset: DatasetLayout, partition: str, fingerprint: str, number: int, inputs: str) -> Path:
    return dataset.staging / "receipts" / receipt_name(dataset, partition, fingerprint, number, inputs)


def receipt_name(dataset: DatasetLayout, partition: str, fingerprint: str, number: int, inputs: str) -> str:
    """Return the name of the note of a shard."""
    return f"{digest_of(dataset.corpus, dataset.name, partition, number, inputs, fingerprint)}.json"


def _parse(data: bytes) -> Receipt:
    table = json.loads(data)
    return Receipt(entry=shard_from_json(table["entry"]), drops=tuple(Drop(**drop) for drop in table["drops"]))
