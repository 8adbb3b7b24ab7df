"""What a store of an older layout lacks, and how each part is brought up: new revisions, never other bytes in old ones.

Layout 2: the tables of assets say per asset whose it is and what may be done with it (owner, contact, licence, pii,
consent), per stream where a text is from and how much of it is lost; clips name their array; the quarantine tells what
was seen of a file and how often it was tried. What was pinned before stays as it is and readable: a manifest names the
schema of its own rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mmpipe.errors import StoreError
from mmpipe.io import make_directory, replace_durable
from mmpipe.store.assets import ASSET_STREAMS, write_asset_rights
from mmpipe.store.banks import BANK_CLIPS
from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import (
    ASSETS,
    BANKS,
    CLIPS,
    FIRST_VERSION,
    FORMAT_VERSION,
    PRINTS,
    QUARANTINE,
    SIGNALS,
    SURVEYS,
    DatasetLayout,
    StoreLayout,
    format_bytes,
)
from mmpipe.store.prints import STREAM_PRINTS
from mmpipe.store.quarantine import DROPS
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import read_rights
from mmpipe.store.signals import CLIP_SIGNALS
from mmpipe.store.spine import SPINE
from mmpipe.store.surveys import ASSET_SURVEYS
from mmpipe.store.table import TableKind, put_table, read_manifest_table

_TABLES = {
    ASSETS: ASSET_STREAMS,
    SIGNALS: CLIP_SIGNALS,
    SURVEYS: ASSET_SURVEYS,
    PRINTS: STREAM_PRINTS,
    BANKS: BANK_CLIPS,
    QUARANTINE: DROPS,
    CLIPS: SPINE,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OldTable:
    """A partition's table whose head has fewer columns than those of this layout."""

    corpus: str
    dataset: str
    partition: str


def find_old_tables(layout: StoreLayout) -> Iterator[OldTable]:
    """Yield every table that lacks columns; one whose head cannot be read is the matter of verify."""
    for corpus in corpora_of(layout):
        for name, kind in _TABLES.items():
            dataset = layout.dataset(corpus, name)
            for partition in dataset.partitions():
                try:
                    head = read_head(dataset, partition)
                except StoreError:
                    continue
                if head is not None and head.schema != kind.digest:
                    yield OldTable(corpus=corpus, dataset=name, partition=partition)


def widen_table(layout: StoreLayout, table: OldTable) -> bool:
    """Commit a revision with all columns, filled with what is said of the corpus; return whether there was need."""
    dataset = layout.dataset(table.corpus, table.dataset)
    if table.dataset == ASSETS:
        rights = read_rights(layout.dataset(table.corpus, CLIPS))
        return write_asset_rights(dataset, table.partition, lambda source_id: rights)
    return retry_lost_race(lambda: _commit_widened(dataset, _TABLES[table.dataset], table.partition))


def _commit_widened(dataset: DatasetLayout, kind: TableKind, partition: str) -> bool:
    head = read_head(dataset, partition)
    if head is None or head.schema == kind.digest:
        return False
    shards = {}
    for shard in head.shards:
        rows = read_manifest_table(dataset, kind, head, shard.number)
        shards[shard.number] = replace(shard, files=put_table(dataset, partition, kind, shard.number, rows).files)
    commit_partition(
        dataset,
        partition,
        schema=kind.digest,
        fingerprint=head.fingerprint,
        shards=shards,
        base_revision=head.revision,
    )
    return True


def told_version(layout: StoreLayout) -> int:
    """Return the layout that a store's own tables tell of, where its format.json is lost."""
    return FIRST_VERSION if any(find_old_tables(layout)) else FORMAT_VERSION


def raise_version(layout: StoreLayout) -> None:
    """Say in format.json that a store has this mmpipe's layout; from then on an older mmpipe refuses it."""
    make_directory(layout.staging)
    replace_durable(layout.format_file, format_bytes(), layout.staging / f"format-{uuid.uuid4().hex}")


def corpora_of(layout: StoreLayout) -> list[str]:
    """Return every folder that holds datasets."""
    return sorted({path.parent.parent.name for path in layout.root.glob("*/*/_meta")})
