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
_TEXTS = tuple(name for name in _DROP_FIELDS if name != "kept")
FIRST_ATTEMPT = 1
_FIRST = TableKind(
    name="quarantine",
    columns=tuple((name, pl.String) for name in (*(name for name in _TEXTS if name != "facts"), "replay")),
    dictionary=("stage", "code", "feature"),
)
DROPS = TableKind(
    name="quarantine",
    columns=(
        *((name, pl.String) for name in _TEXTS),
        ("kept", pl.Boolean),  # in use all the same: a note, not a loss
        ("attempts", pl.Int32),  # how often it was tried
        ("replay", pl.String),
    ),
    older=(_FIRST,),
    fill=(("facts", ""), ("kept", False), ("attempts", FIRST_ATTEMPT)),
    dictionary=("stage", "code", "feature"),
)
THING = ["stage", "file", "file_sha256", "source_id", "clip_key", "feature"]  # what a row is about
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


def count_attempt(dataset: DatasetLayout, partition: str, number: int, tried: pl.DataFrame) -> Manifest:
    """Note that a person had these rows of a stage tried once more, in vain; rows are told apart by `THING`."""
    return retry_lost_race(lambda: _commit_attempt(dataset, partition, number, tried))


def read_quarantine(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows of the quarantine; the first column is the partition."""
    return read_partitions(layout.dataset(corpus, QUARANTINE), DROPS, partitions)


def _commit_stage(
    dataset: DatasetLayout, partition: str, number: int, incoming: pl.DataFrame, keep: pl.Expr | None
) -> Manifest:
    head = read_head(dataset, partition)
    there = _read_stage(dataset, head, number)
    frame = _with_attempts(incoming, there)
    if keep is not None and not there.is_empty():
        frame = pl.concat([there.filter(keep), frame]).unique().sort(DROPS.names)
    return _put_stage(dataset, partition, number, frame, head)


def _commit_attempt(dataset: DatasetLayout, partition: str, number: int, tried: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    assert head is not None, f"{dataset.corpus} dt={partition} has no quarantine to count in"
    there = _read_stage(dataset, head, number)
    marks = tried.select(THING).unique().with_columns(again=pl.lit(1, pl.Int32))
    counted = there.join(marks, on=THING, how="left", maintain_order="left").with_columns(
        attempts=pl.col("attempts") + pl.col("again").fill_null(0)
    )
    return _put_stage(dataset, partition, number, counted.select(DROPS.names), head)


def _read_stage(dataset: DatasetLayout, head: Manifest | None, number: int) -> pl.DataFrame:
    has_rows = head is not None and head.shard(number) is not None
    return read_manifest_table(dataset, DROPS, head if has_rows else None, number)


def _with_attempts(incoming: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Return new rows with the attempts of the same things before them: a run by itself is no attempt."""
    known = there.group_by(THING).agg(before=pl.col("attempts").max())
    joined = incoming.join(known, on=THING, how="left", maintain_order="left")
    return joined.with_columns(attempts=pl.coalesce("before", "attempts")).select(DROPS.names)


def _put_stage(
    dataset: DatasetLayout, partition: str, number: int, frame: pl.DataFrame, head: Manifest | None
) -> Manifest:
    return commit_partition(
        dataset,
        partition,
        schema=DROPS.digest,
        fingerprint="",
        shards={number: put_table(dataset, partition, DROPS, number, frame)},
        base_revision=head.revision if head else 0,
    )


def _to_row(drop: Drop, replay: str) -> tuple[str | bool | int, ...]:
    texts = (_printable_utf8(getattr(drop, name)) for name in _TEXTS)
    return (*texts, drop.kept, FIRST_ATTEMPT, _printable_utf8(replay))


def _printable_utf8(text: str) -> str:
    """Return text that any reader can hold: what a decoder says of hostile bytes may carry lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
