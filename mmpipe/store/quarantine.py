"""The quarantine: what cannot be used, where it fell out, why, and the command that tries it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import QUARANTINE, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions
from mmpipe.types import Drop

_DROP_FIELDS = tuple(field.name for field in fields(Drop))
DROPS = TableKind(
    name="quarantine",
    columns=tuple((name, pl.String) for name in (*_DROP_FIELDS, "replay")),
    dictionary=("stage", "code", "feature"),
)
INGEST = 0  # the shard of what the ingest could not use
EXTRACTION = 1  # the shard of what the extraction could not use


def write_quarantine(
    dataset: DatasetLayout,
    partition: str,
    number: int,
    drops: Iterable[Drop],
    replay: Callable[[Drop], str],
    keep: pl.Expr | None = None,
) -> Manifest:
    """Commit the drops of one stage (`INGEST` or `EXTRACTION`) in place of those that are there.

    `keep` says which rows that are there stay beside the new ones: what this run did not look at. `replay` gives
    the command that tries a drop again. A stage without drops has no file.
    """
    incoming = DROPS.frame(sorted({_to_row(drop, replay(drop)) for drop in drops}))
    return retry_lost_race(lambda: _commit_stage(dataset, partition, number, incoming, keep))


def read_quarantine(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows of the quarantine; the first column is the partition."""
    return read_partitions(layout.dataset(corpus, QUARANTINE), DROPS, partitions)


def _commit_stage(
    dataset: DatasetLayout, partition: str, number: int, incoming: pl.DataFrame, keep: pl.Expr | None
) -> Manifest:
    head = read_head(dataset, partition)
    frame = incoming
    if keep is not None and head is not None and (shard := head.shard(number)):
        there = read_manifest_table(dataset, DROPS, head, shard.number).filter(keep)
        frame = pl.concat([there, incoming]).unique().sort(DROPS.names)
    return commit_partition(
        dataset,
        partition,
        schema=DROPS.digest,
        fingerprint="",
        shards={number: put_table(dataset, partition, DROPS, number, frame)},
        base_revision=head.revision if head else 0,
    )


def _to_row(drop: Drop, replay: str) -> tuple[str, ...]:
    return tuple(_printable_utf8(value) for value in (*(getattr(drop, name) for name in _DROP_FIELDS), replay))


def _printable_utf8(text: str) -> str:
    """Return text that any reader can hold: what a decoder says of hostile bytes may carry lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
