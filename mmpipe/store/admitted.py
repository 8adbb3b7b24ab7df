"""What a person let in although a policy refused it: digests under the code that does not bind them, and nothing else.

Who, when and why is in the audit log. An exception is for the very bytes, or the very clip: a file that changes is
judged anew.
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

ADMITTED_ROWS = TableKind(name="admitted", columns=(("code", pl.String), ("thing", pl.String)), dictionary=("code",))
_SHARD = 0  # a partition's exceptions are one file


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The codes that do not bind a thing: by a file's sha256, or a clip's key."""

    codes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, code: str, thing: str) -> bool:
        """Say whether a thing was let in although this code refused it."""
        return code in self.codes_of.get(thing, ())

    def codes(self, things: Iterable[str]) -> tuple[str, ...]:
        """Return all codes that do not bind these things together."""
        return tuple(sorted({code for thing in things for code in self.codes_of.get(thing, ())}))


def read_admitted(layout: StoreLayout, corpus: str) -> Admitted:
    """Return every exception of a corpus."""
    codes: dict[str, set[str]] = {}
    for _, code, thing in list_admitted(layout, corpus):
        codes.setdefault(thing, set()).add(code)
    return Admitted(codes_of={thing: tuple(sorted(found)) for thing, found in codes.items()})


def list_admitted(layout: StoreLayout, corpus: str) -> Iterator[tuple[str, str, str]]:
    """Yield the exceptions of a corpus as (partition, code, thing)."""
    yield from read_partitions(layout.dataset(corpus, ADMITTED), ADMITTED_ROWS, None).iter_rows()


def admit(dataset: DatasetLayout, partition: str, rows: Collection[tuple[str, str]]) -> Manifest:
    """Add (code, thing) to a partition's exceptions."""
    return retry_lost_race(lambda: _commit(dataset, partition, rows, ()))


def take_back(dataset: DatasetLayout, partition: str, rows: Collection[tuple[str, str]]) -> Manifest:
    """Remove (code, thing) from a partition's exceptions."""
    return retry_lost_race(lambda: _commit(dataset, partition, (), rows))


def _commit(
    dataset: DatasetLayout,
    partition: str,
    added: Collection[tuple[str, str]],
    removed: Collection[tuple[str, str]],
) -> Manifest:
    head = read_head(dataset, partition)
    there = set(read_manifest_table(dataset, ADMITTED_ROWS, head).iter_rows())
    frame = ADMITTED_ROWS.frame(sorted((there | set(added)) - set(removed)))
    return commit_partition(
        dataset,
        partition,
        schema=ADMITTED_ROWS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ADMITTED_ROWS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )
