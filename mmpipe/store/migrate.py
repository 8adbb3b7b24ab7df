"""What a store of an older layout lacks, and how each part is brought up: new revisions, never other bytes in old ones.

Layout 2: the tables of assets say per asset whose it is and what may be done with it (owner, contact, licence, pii,
consent). What was pinned before stays as it is and readable: a manifest names the schema of its own rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from mmpipe.errors import StoreError
from mmpipe.io import make_directory, replace_durable
from mmpipe.store.assets import ASSET_STREAMS, write_asset_rights
from mmpipe.store.layout import ASSETS, CLIPS, FIRST_VERSION, FORMAT_VERSION, StoreLayout, format_bytes
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import read_rights


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OldTable:
    """A partition's table of assets whose head has fewer columns than those of this layout."""

    corpus: str
    partition: str


def find_old_tables(layout: StoreLayout) -> Iterator[OldTable]:
    """Yield every table of assets that lacks columns; one whose head cannot be read is the matter of verify."""
    for corpus in corpora_of(layout):
        assets = layout.dataset(corpus, ASSETS)
        for partition in assets.partitions():
            try:
                head = read_head(assets, partition)
            except StoreError:
                continue
            if head is not None and head.schema != ASSET_STREAMS.digest:
                yield OldTable(corpus=corpus, partition=partition)


def widen_table(layout: StoreLayout, table: OldTable) -> bool:
    """Commit a revision with all columns, filled with what is said of the corpus; return whether there was need."""
    rights = read_rights(layout.dataset(table.corpus, CLIPS))
    return write_asset_rights(layout.dataset(table.corpus, ASSETS), table.partition, lambda source_id: rights)


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
