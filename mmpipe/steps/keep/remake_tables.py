"""Make lost tables again where something tells how they were: the raw files, or the audit log; else say the way out.

What comes out the same is put back under the manifest that names it. What was measured otherwise (by other settings, or
another mmpipe), but of every recording, becomes a revision. Less than that is taken with `accept_loss` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import MmpipeError
from mmpipe.io import sha256_file
from mmpipe.steps.keep.made_tables import MadeTable, newest_whole, read_made, scratch_store
from mmpipe.steps.keep.remake import bad_shards
from mmpipe.steps.keep.restore import BAD_BYTES, Step, set_aside
from mmpipe.steps.keep.revive import GIVEN_UP
from mmpipe.steps.quarantine.released import RELEASED, TAKEN_BACK
from mmpipe.store.admitted import ADMITTED_ROWS
from mmpipe.store.audit import append_event, read_events
from mmpipe.store.banks import BANK_CLIPS
from mmpipe.store.commit import commit_partition
from mmpipe.store.finding import RESTORE, Finding
from mmpipe.store.layout import ADMITTED, BANKS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.objects import has_object, put_bytes
from mmpipe.store.revisions import read_head
from mmpipe.store.spine import read_spine
from mmpipe.store.table import TableKind, put_table, read_partitions
from mmpipe.store.verify import WAYS_TO_TABLES, chosen_corpora

REMADE = frozenset(WAYS_TO_TABLES)
_SHARD = 0  # each of these tables is one file
_OTHERWISE = "it comes out otherwise than it was"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LostTable:
    """A date's table whose bytes are bad or gone."""

    corpus: str
    partition: str
    dataset: str

    @property
    def path(self) -> str:
        """Return how a step names it."""
        return f"{self.corpus}/{self.dataset} dt={self.partition}"


def find_lost_tables(
    layout: StoreLayout, corpus: str | None, findings: Iterable[Finding], restored: Collection[str]
) -> list[LostTable]:
    """Return the tables that heads name and whose bytes are bad or gone; `restored` are paths that come back."""
    back = {path.rpartition("/")[2] for path in restored}
    names = {finding.path.rpartition("/")[2] for finding in findings if finding.code in BAD_BYTES}
    return sorted(
        LostTable(corpus=name, partition=partition, dataset=table)
        for name in chosen_corpora(layout, corpus)
        for table in layout.dataset_names(name)
        if not (dataset := layout.dataset(name, table)).is_feature
        for partition in dataset.partitions()
        if bad_shards(dataset, partition, names, back)
    )


def remake_tables(
    config: Config,
    layout: StoreLayout,
    lost: Sequence[LostTable],
    foreseen: Collection[str] | None = None,
    accept_loss: bool = False,
) -> list[Step]:
    """Make lost tables again, oldest date first; a dry run gives in `foreseen` the paths of what would be restored."""
    remake = _Remake(config=config, layout=layout, foreseen=foreseen, accept_loss=accept_loss)
    steps = [Step(action="left", path=item.path, detail=RESTORE) for item in lost if item.dataset not in REMADE]
    # What people decided comes first: an ingest asks for it. Banks come last: they are drawn from what is there.
    for turn in (_is_admitted, _is_measured, _is_bank):
        chosen = [item for item in lost if turn(item)]
        for corpus, partition in sorted({(item.corpus, item.partition) for item in chosen}):
            steps += remake.make([item for item in chosen if (item.corpus, item.partition) == (corpus, partition)])
    return steps


def set_aside_old(
    layout: StoreLayout, findings: Iterable[Finding], lost: Sequence[LostTable], dry_run: bool
) -> list[Step]:
    """Set aside the bad bytes of revisions that are heads no longer, of tables that are made again."""
    heads = {sha256 for item in lost for sha256 in _named(layout.dataset(item.corpus, item.dataset), item.partition)}
    steps = []
    for finding in findings:
        parts = finding.path.split("/")
        if finding.code in BAD_BYTES - {"object_missing"} and parts[1] in REMADE and parts[-1] not in heads:
            if not dry_run:
                set_aside(layout, layout.root / finding.path)
            steps.append(Step(action="set aside", path=finding.path, detail=finding.code))
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remake:
    """How lost tables are made again."""

    config: Config
    layout: StoreLayout
    foreseen: Collection[str] | None
    accept_loss: bool

    def make(self, items: Sequence[LostTable]) -> list[Step]:
        """Make the tables of one corpus and date that are made together."""
        heads = {item.dataset: self._head(item) for item in items}
        best: dict[str, MadeTable] = {}
        steps, why = [], _OTHERWISE
        waiting = {item.dataset: item for item in items}
        try:
            for made in self._attempts(items):
                for name in sorted(waiting.keys() & made.keys()):
                    if _is_same(heads[name], made[name]):
                        steps.append(self._put_back(waiting.pop(name), heads[name], made[name]))
                    elif name not in best:
                        best[name] = made[name]
                if not waiting:
                    break
        except (MmpipeError, ImportError, OSError, pl.exceptions.PolarsError) as error:
            why = str(error).splitlines()[0]
        if waiting and self._is_foreseen(items[0].corpus):
            return [Step(action="made", path=item.path) for item in items]
        return steps + [self._settle(item, heads[name], best.get(name), why) for name, item in sorted(waiting.items())]

    def _head(self, item: LostTable) -> Manifest:
        head = read_head(self.layout.dataset(item.corpus, item.dataset), item.partition)
        assert head is not None, f"{item.path} is lost without a head"
        return head

    def _attempts(self, items: Sequence[LostTable]) -> Iterator[Mapping[str, MadeTable]]:
        """Yield what tables may have been, by dataset; they load what a reader of the store does not have."""
        corpus, partition = items[0].corpus, items[0].partition
        if _is_admitted(items[0]):
            for frame in _admitted_by_log(self.layout, corpus, partition):
                yield _as_table(corpus, partition, ADMITTED_ROWS, frame)
                for older in ADMITTED_ROWS.older:
                    in_force = frame.filter(~pl.col("taken_back")).select(older.names)
                    yield _as_table(corpus, partition, older, in_force)
        elif _is_bank(items[0]):
            from mmpipe.steps.ingest.banks import draw_banks_again

            for frame in draw_banks_again(self.config, corpus):
                yield _as_table(corpus, partition, BANK_CLIPS, frame)
        else:
            from mmpipe.steps.keep.measure_again import measure_again

            names = frozenset(item.dataset for item in items)
            yield from measure_again(self.config, self.layout, corpus, partition, names)

    def _is_foreseen(self, corpus: str) -> bool:
        """Say whether a dry run cannot tell: what it would need comes back from elsewhere first."""
        return any(path.startswith(f"{corpus}/") and "@" not in path.split("/")[1] for path in self.foreseen or ())

    def _put_back(self, item: LostTable, head: Manifest, made: MadeTable) -> Step:
        if self.foreseen is None:
            dataset = self.layout.dataset(item.corpus, item.dataset)
            self._clear(item, head)
            put_bytes(dataset, made.data)
        return Step(action="made", path=item.path)

    def _settle(self, item: LostTable, head: Manifest, made: MadeTable | None, why: str) -> Step:
        """Make a revision of what was measured otherwise, give up what is less, or leave it and say the way out."""
        try:
            if made and _is_measured(item) and self._is_complete(item, head, made):
                revision = self._commit(item, head, made.entry, made.schema, made.data)
                detail = f"revision {revision}, measured anew: with other bytes than it had"
                return Step(action="made", path=item.path, detail=detail)
            if self.accept_loss:
                return Step(action=GIVEN_UP, path=item.path, detail=f"{self._give_up(item, head, made)}: {why}")
        except MmpipeError as error:
            why = str(error).splitlines()[0]
        return Step(action="left", path=item.path, detail=f"{why}. {WAYS_TO_TABLES[item.dataset]}")

    def _is_complete(self, item: LostTable, head: Manifest, made: MadeTable) -> bool:
        """Say whether a table has no less rows than it had, and speaks of every recording that has clips."""
        live = read_spine(self.layout, item.corpus, (item.partition,)).filter(~pl.col("superseded"))
        return made.entry.samples >= head.samples and made.asset_ids.issuperset(live["asset_id"])

    def _give_up(self, item: LostTable, head: Manifest, made: MadeTable | None) -> str:
        """Commit what there is of a table: what could be made, else what an older revision has, else nothing."""
        dataset = self.layout.dataset(item.corpus, item.dataset)
        base = newest_whole(dataset, item.partition)
        if made and _is_measured(item):
            entry, schema, data = made.entry, made.schema, made.data
        elif base and base.shard(_SHARD):
            entry, schema, data = base.shard(_SHARD) or _EMPTY, base.schema, b""
        else:
            entry, schema, data = _EMPTY, head.schema, b""
        if self.foreseen is None:
            append_event(self.layout, "accept-loss", item.path, "asked for by hand", {"revisions": [head.revision]})
        revision = self._commit(item, head, entry, schema, data)
        return f"revision {revision} has {entry.samples} of {head.samples} rows"

    def _commit(self, item: LostTable, head: Manifest, entry: ShardEntry, schema: str, data: bytes) -> int:
        if self.foreseen is not None:
            return head.revision + 1
        dataset = self.layout.dataset(item.corpus, item.dataset)
        self._clear(item, head)
        if data:
            put_bytes(dataset, data)
        shards = {_SHARD: entry}
        made = commit_partition(
            dataset, item.partition, schema=schema, fingerprint="", shards=shards, base_revision=head.revision
        )
        return made.revision

    def _clear(self, item: LostTable, head: Manifest) -> None:
        """Set aside the bad bytes of a head."""
        dataset = self.layout.dataset(item.corpus, item.dataset)
        for shard in head.shards:
            for file in shard.files:
                path = dataset.object(file.sha256)
                if not has_object(dataset, file) or sha256_file(path) != file.sha256:
                    set_aside(self.layout, path)


_EMPTY = ShardEntry(number=_SHARD, files=(), samples=0, inputs="", spine=0)


def _is_admitted(item: LostTable) -> bool:
    return item.dataset == ADMITTED


def _is_bank(item: LostTable) -> bool:
    return item.dataset == BANKS


def _is_measured(item: LostTable) -> bool:
    return item.dataset in REMADE - {ADMITTED, BANKS}


def _named(dataset: DatasetLayout, partition: str) -> Iterator[str]:
    head = read_head(dataset, partition)
    return (file.sha256 for shard in (head.shards if head else ()) for file in shard.files)


def _is_same(head: Manifest, made: MadeTable) -> bool:
    entry = head.shard(_SHARD)
    return entry is not None and entry.files == made.entry.files


def _as_table(corpus: str, partition: str, kind: TableKind, frame: pl.DataFrame) -> dict[str, MadeTable]:
    """Return rows as the store would write them; nothing of it is put there."""
    with scratch_store() as scratch:
        dataset = scratch.dataset(corpus, kind.name)
        entry = put_table(dataset, partition, kind, _SHARD, frame)
        commit_partition(dataset, partition, schema=kind.digest, fingerprint="", shards={_SHARD: entry})
        made = read_made(dataset, partition)
    return {kind.name: made} if made else {}


def _admitted_by_log(layout: StoreLayout, corpus: str, partition: str) -> Iterator[pl.DataFrame]:
    """Yield what the audit log says that people let in, or took back: without what other dates have, then all of it."""
    found: dict[tuple[str, str], bool] = {}
    for event in read_events(layout):
        if event.facts.get("corpus") == corpus and event.kind in (RELEASED, TAKEN_BACK):
            found |= dict.fromkeys(map(tuple, event.facts.get("things", ())), event.kind == TAKEN_BACK)
    dataset = layout.dataset(corpus, ADMITTED)
    dates = [date for date in dataset.partitions() if date != partition]
    others = set(read_partitions(dataset, ADMITTED_ROWS, dates).select("code", "thing").iter_rows())
    for pairs in (found.keys() - others, found.keys()):
        yield ADMITTED_ROWS.frame(sorted((*pair, found[pair]) for pair in pairs))
