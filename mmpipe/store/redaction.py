"""What was forgotten out of committed bytes: which shard stands now in place of one that is gone for good.

STORE/CORPUS/DATASET/_redacted/<sha256 of the old data file>.json   put-if-absent; pins are read through them
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmpipe.errors import StoreError
from mmpipe.io import StorePath, canonical_json, make_durable_directory, put_if_absent, remove_file, write_durable
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest, ShardEntry, shard_from_json, shard_to_json
from mmpipe.store.objects import stage_path
from mmpipe.store.revisions import read_manifest

if TYPE_CHECKING:
    from mmpipe.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """The shard without what was forgotten, and who that was, by digest."""

    entry: ShardEntry
    assets: tuple[str, ...]
    reason: str


def put_redaction(dataset: DatasetLayout, old_sha256: str, redaction: Redaction) -> None:
    """Note durably what stands in place of a shard's data file; the first note stays."""
    path = _path(dataset, old_sha256)
    table = {"assets": list(redaction.assets), "entry": shard_to_json(redaction.entry), "reason": redaction.reason}
    make_durable_directory(path.parent)
    staged = stage_path(dataset)
    try:
        write_durable(staged, canonical_json(table))
        put_if_absent(staged, path)
    finally:
        remove_file(staged)


def read_redaction(dataset: DatasetLayout, old_sha256: str) -> Redaction | None:
    """Return what stands in place of a data file; None where nothing of it was forgotten."""
    path = _path(dataset, old_sha256)
    try:
        table = json.loads(path.read_bytes())
        return Redaction(
            entry=shard_from_json(table["entry"]), assets=tuple(table["assets"]), reason=str(table["reason"])
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Restore it from a copy of the store.") from error


def redact_manifest(dataset: DatasetLayout, manifest: Manifest) -> Manifest:
    """Return a manifest with the shards that stand now in place of those out of which something was forgotten."""
    if not _folder(dataset).is_dir():
        return manifest
    shards = tuple(_redact_shard(dataset, shard)[0] for shard in manifest.shards)
    return manifest if shards == manifest.shards else dataclasses.replace(manifest, shards=shards)


def redactions_of(layout: StoreLayout, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the digests of the assets that were forgotten out of what a snapshot pins; () where it is whole."""
    found: set[str] = set()
    for entry in snapshot.entries:
        dataset = layout.dataset(snapshot.corpus, entry.dataset)
        if _folder(dataset).is_dir():
            manifest = read_manifest(dataset, entry.partition, entry.revision)
            found.update(asset for shard in manifest.shards for asset in _redact_shard(dataset, shard)[1])
    return tuple(sorted(found))


def is_redacted(layout: StoreLayout, snapshot: Snapshot) -> bool:
    """Say whether something was forgotten out of what a snapshot pins."""
    return bool(redactions_of(layout, snapshot))


def with_files(shard: ShardEntry, made: ShardEntry) -> ShardEntry:
    """Return a shard's entry with the files and values of the one that was made in its place."""
    return dataclasses.replace(
        shard,
        files=made.files,
        samples=made.samples,
        statistics=made.statistics,
        spine=made.samples + shard.absent + shard.quarantined,
        inputs=made.inputs or shard.inputs,  # a table's digest is of its rows, a feature's of what it was made from
    )


def _redact_shard(dataset: DatasetLayout, shard: ShardEntry) -> tuple[ShardEntry, Iterable[str]]:
    """Follow the notes: a shard may have been made anew more than once."""
    assets: list[str] = []
    while (data := shard.file("data")) and (redaction := read_redaction(dataset, data.sha256)):
        shard = with_files(shard, redaction.entry)
        assets += redaction.assets
    return shard, assets


def _folder(dataset: DatasetLayout) -> StorePath:
    return dataset.root / "_redacted"


def _path(dataset: DatasetLayout, old_sha256: str) -> StorePath:
    return _folder(dataset) / f"{old_sha256}.json"
