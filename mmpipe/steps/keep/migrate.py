"""Bring a store of an older layout up to this one, in place: killed at any moment and run again, it ends the same.

Every part is a durable step that does nothing where it was done before, and `format.json` is raised last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.registry.oldmoves import count_unsigned, sign_moves
from mmpipe.registry.versions import list_models
from mmpipe.steps.ground.rights import carry_to_cards
from mmpipe.steps.keep.exclusive import hold_corpus
from mmpipe.store.audit import append_event, read_events
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import CLIPS, FORMAT_VERSION, StoreLayout, layout_version, open_store
from mmpipe.store.lease import Lease
from mmpipe.store.migrate import OldTable, corpora_of, find_old_tables, raise_version, widen_table
from mmpipe.store.rights import read_rights

LEASE, KIND = "migrate", "migrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateStep:
    """One part of a migration."""

    what: str
    where: str
    count: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateReport:
    """What a migration did, or would do."""

    before: int
    after: int
    steps: tuple[MigrateStep, ...] = ()

    def summary(self) -> str:
        """Return one line."""
        if self.before == self.after:
            return f"layout {self.after}: nothing to do"
        left = sum(step.what == "left" for step in self.steps)
        told = f"; {left} dataset(s) are damaged and left to `mmpipe verify --repair`" if left else ""
        return f"layout {self.before} to {self.after}, {sum(step.count for step in self.steps)} change(s){told}"

    def table(self) -> list[dict[str, str | int]]:
        """Return one row per part."""
        return [{"what": s.what, "where": s.where, "count": s.count, "detail": s.detail} for s in self.steps]


def migrate_store(config: Config, dry_run: bool = False) -> MigrateReport:
    """Bring a store up to this mmpipe's layout. TransientError: somebody is at work in it; nothing was changed."""
    layout = open_store(config.store)
    before = layout_version(layout)
    if before == FORMAT_VERSION:
        return MigrateReport(before=before, after=FORMAT_VERSION)
    if dry_run:
        return MigrateReport(before=before, after=FORMAT_VERSION, steps=tuple(_foresee(layout)))
    with ExitStack() as held:
        held.enter_context(Lease.acquire(layout, LEASE))
        held.enter_context(Lease.acquire(layout, "gc"))  # it must not judge a store that is half one layout
        for corpus in layout.corpora():
            held.enter_context(hold_corpus(layout, corpus))
        steps = tuple(_carry_out(layout))
        _note(layout, before)
        raise_version(layout)
    return MigrateReport(before=before, after=FORMAT_VERSION, steps=steps)


def _foresee(layout: StoreLayout) -> Iterator[MigrateStep]:
    yield from _tables_steps(find_old_tables(layout))
    for corpus in corpora_of(layout):
        detail = "datasets looked at; those that are not as this mmpipe writes them are brought up"
        yield MigrateStep(what="cards and views", where=corpus, count=len(layout.dataset_names(corpus)), detail=detail)
    for model in list_models(layout.models):
        if count := count_unsigned(layout.models, model):
            yield _moves_step(model, count)


def _carry_out(layout: StoreLayout) -> Iterator[MigrateStep]:
    yield from _tables_steps([table for table in find_old_tables(layout) if widen_table(layout, table)])
    for corpus in corpora_of(layout):
        yield from _heal(layout, corpus)
        carry_to_cards(layout, corpus, read_rights(layout.dataset(corpus, CLIPS)), "", None)
    for model in list_models(layout.models):
        if count := sign_moves(layout.models, model):
            yield _moves_step(model, count)


def _heal(layout: StoreLayout, corpus: str) -> Iterator[MigrateStep]:
    """Bring views and cards up; what is damaged keeps its own, and is readable or not as before."""
    healed = 0
    for name in layout.dataset_names(corpus):
        try:
            healed += heal_dataset(layout.dataset(corpus, name))
        except StoreError as error:
            yield MigrateStep(what="left", where=f"{corpus}/{name}", count=0, detail=str(error).splitlines()[0])
    if healed:
        yield MigrateStep(what="cards and views", where=corpus, count=healed)


def _note(layout: StoreLayout, before: int) -> None:
    """Note the migration once; one that was cut short behind its note is the same migration."""
    facts = {"from": before, "to": FORMAT_VERSION}
    last = next((event for event in reversed(read_events(layout)) if event.kind == KIND), None)
    if last is None or dict(last.facts) != facts:
        append_event(layout, KIND, "the store", f"layout {before} to {FORMAT_VERSION}", facts)


def _tables_steps(tables: Iterable[OldTable]) -> Iterator[MigrateStep]:
    counts = Counter((table.corpus, table.dataset) for table in tables)
    detail = "the columns that this layout has besides, in new revisions"
    for (corpus, dataset), count in sorted(counts.items()):
        yield MigrateStep(what=f"tables of {dataset}", where=corpus, count=count, detail=detail)


def _moves_step(model: str, count: int) -> MigrateStep:
    return MigrateStep(what="lines of events.jsonl", where=f"models/{model}", count=count, detail="a checksum each")
