"""A table's shard that was made again, in a store that is thrown away; and what an older revision still has of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.store.layout import DatasetLayout, StoreLayout, create_store
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.objects import read_object
from mmpipe.store.redaction import redact_manifest
from mmpipe.store.revisions import list_revisions, read_head, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeTable:
    """A table's shard that was made again."""

    entry: ShardEntry
    data: bytes
    schema: str
    asset_ids: frozenset[str] = frozenset()  # of which it says what it is for


@contextmanager
def scratch_store() -> Iterator[StoreLayout]:
    """Make a store that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="mmpipe-repair-") as folder:
        yield create_store(Path(folder) / "store")


def read_made(dataset: DatasetLayout, partition: str) -> MadeTable | None:
    """Return the one shard of a table in a store that is thrown away; None where it has no rows."""
    head = read_head(dataset, partition)
    entry = head.shards[0] if head and head.shards else None
    file = entry.file("data") if entry else None
    if head is None or entry is None or file is None:
        return None
    return MadeTable(entry=entry, data=read_object(dataset, file), schema=head.schema)


def newest_whole(dataset: DatasetLayout, partition: str) -> Manifest | None:
    """Return the newest revision before the head whose bytes are all whole; None where there is none."""
    for number in reversed(list_revisions(dataset, partition)[:-1]):
        try:
            manifest = redact_manifest(dataset, read_manifest(dataset, partition, number))
            for shard in manifest.shards:
                for file in shard.files:
                    read_object(dataset, file)
        except StoreError:
            continue
        return manifest
    return None
