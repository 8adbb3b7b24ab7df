"""What a person let in although a policy refused it: digests under the code that does not bind them, and nothing else.

Who, when and why is in the audit log. An exception is for the very bytes, or the very clip: a file that changes is
judged anew. One that was taken back stays as a mark: what it had let in is to leave, whichever run comes to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import ADMITTED, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions

_FIRST_COLUMNS: tuple[tuple[str, type[pl.DataType]], ...] = (("code", pl.String), ("thing", pl.String))
ADMITTED_ROWS = TableKind(
    name="admitted",
    columns=(*_FIRST_COLUMNS, ("taken_back", pl.Boolean)),
    dictionary=("code",),
    older=(TableKind(name="admitted", columns=_FIRST_COLUMNS, dictionary=("code",)),),
    fill=(("taken_back", False),),
)
_SHARD = 0  # a partition's exceptions are one file


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The codes that do not bind a thing: by a file's sha256, or a clip's key."""

    codes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taken_back: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # codes that bind a thing again

    def has(self, code: str, thing: str) -> bool:
        """Say whether a thing was let in although this code refused it."""
        return code in self.codes_of.get(thing, ())

    def codes(self, things: Iterable[str]) -> tuple[str, ...]:
        """Return all codes that do not bind these things together."""
        return tuple(sorted({code for thing in things for code in self.codes_of.get(thing, ())}))


def read_admitted(layout: StoreLayout, corpus: str) -> Admitted:
    """Return every exception of a corpus, and those that were taken back."""
    in_force, taken_back = list_admitted(layout, corpus), list_taken_back(layout, corpus)
    return Admitted(codes_of=_by_thing(in_force), taken_back=_by_thing(taken_back))


def list_admitted(layout: StoreLayout, corpus: str) -> Iterator[tuple[str, str, str]]:
    """Yield the exceptions of a corpus as (partition, code, thing)."""
    yield from _list(layout, corpus, ~pl.col("taken_back"))


def list_taken_back(layout: StoreLayout, corpus: str) -> Iterator[tuple[str, str, str]]:
    """Yield the exceptions of a corpus that were taken back, as (partition, code, thing)."""
    yield from _list(layout, corpus, pl.col("taken_back"))


def admit(dataset: DatasetLayout, partition: str, rows: Collection[tuple[str, str]]) -> Manifest:
    """Add (code, thing) to a partition's exceptions."""
    return retry_lost_race(lambda: _commit(dataset, partition, dict.fromkeys(rows, False)))


def take_back(dataset: DatasetLayout, partition: str, rows: Collection[tuple[str, str]]) -> Manifest:
    """Mark (code, thing) of a partition's exceptions as taken back."""
    return retry_lost_race(lambda: _commit(dataset, partition, dict.fromkeys(rows, True)))


def _list(layout: StoreLayout, corpus: str, which: pl.Expr) -> Iterator[tuple[str, str, str]]:
    rows = read_partitions(layout.dataset(corpus, ADMITTED), ADMITTED_ROWS, None).filter(which)
    yield from rows.drop("taken_back").iter_rows()


def _by_thing(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    codes: dict[str, set[str]] = {}
    for _, code, thing in rows:
        codes.setdefault(thing, set()).add(code)
    return {thing: tuple(sorted(found)) for thing, found in codes.items()}


def _commit(dataset: DatasetLayout, partition: str, said: Mapping[tuple[str, str], bool]) -> Manifest:
    """Commit what is said now of (code, thing): whether it was taken back."""
    head = read_head(dataset, partition)
    there = {(code, thing): back for code, thing, back in read_manifest_table(dataset, ADMITTED_ROWS, head).iter_rows()}
    after = {**there, **said}
    frame = ADMITTED_ROWS.frame(sorted((*pair, back) for pair, back in after.items()))
    return commit_partition(
        dataset,
        partition,
        schema=ADMITTED_ROWS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ADMITTED_ROWS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )
