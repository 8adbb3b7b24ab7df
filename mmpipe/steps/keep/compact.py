"""Repack small late shards into full ones: new shards, the same clips in the same order, no value computed.

The place of a clip is (shard, ordinal), so readers are right at every moment only in this order: the spine reserves
the new numbers, the features get the new shards in addition, the spine switches, the features drop the old shards.
Each step looks at what is there, so a compaction that was killed is finished by running it again. Old snapshots keep
their objects until `mmpipe gc`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.keep.exclusive import hold_corpus
from mmpipe.steps.plan.inputs import (
    STREAM_COLUMNS,
    inputs_digest,
    is_made_from,
    note_inputs,
    shard_inputs,
    split_inputs,
)
from mmpipe.store.audit import append_event
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.reader import ShardReader
from mmpipe.store.rewrite import write_rows
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import SPINE, identity_digest, next_shard, read_spine_manifest
from mmpipe.store.table import put_table
from mmpipe.types import Modality, digest_of
from mmpipe.words import counted

_FULL = "no shard is smaller than what --below says (half of `shard_clips`), with others behind it that it fits with"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repack:
    """What one partition's shards are to become."""

    partition: str
    old: tuple[int, ...]  # numbers of the shards that are repacked
    new: int  # how many shards they become
    clips: int
    frame: pl.DataFrame  # the spine's rows from the first of them on, in order
    kept: tuple[ShardEntry, ...]  # of the spine, before them
    blocked: str = ""  # why it cannot be done now


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What was repacked, partition by partition."""

    corpus: str
    repacks: tuple[Repack, ...]
    swept: int = 0  # feature shards that were dropped because the spine has no clips in them any more

    def summary(self) -> str:
        """Return a line for a person."""
        done = [repack for repack in self.repacks if not repack.blocked]
        before, after = sum(len(repack.old) for repack in done), sum(repack.new for repack in done)
        text = f"{counted(before, 'shard', 'become', 'becomes')} {after} in {counted(len(done), 'partition')}"
        if not done:
            text = "nothing can be packed now: see what is blocked" if self.repacks else f"nothing to pack: {_FULL}"
        return f"{self.corpus}: {text}" + (
            f"; {counted(self.swept, 'old feature shard')} dropped" if self.swept else ""
        )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per partition."""
        return [
            {
                "dt": repack.partition,
                "shards": len(repack.old),
                "become": repack.new,
                "clips": repack.clips,
                "blocked": repack.blocked,
            }
            for repack in self.repacks
        ]


def compact_corpus(
    config: Config, corpus: str, dt: str | None = None, below: int | None = None, dry_run: bool = False
) -> CompactReport:
    """Repack shards with fewer clips than `below`, and those after them, where that leaves fewer shards.

    `below` is half of the corpus's `shard_clips` where it is not given.
    """
    layout = open_store(config.store, to_write=not dry_run)
    _, source = config.corpus(corpus)
    size = source.shard_clips
    if dry_run:
        return CompactReport(
            corpus=corpus, repacks=tuple(_plan(layout, corpus, dt, size if below is None else below * 2, size))
        )
    with hold_corpus(layout, corpus):
        repacks = tuple(_plan(layout, corpus, dt, size if below is None else below * 2, size))
        for repack in repacks:
            if not repack.blocked:
                _carry_out(layout, corpus, repack, size)
        swept = _sweep(layout, corpus, dt)
        report = CompactReport(corpus=corpus, repacks=repacks, swept=swept)
        if swept or any(not repack.blocked for repack in repacks):
            append_event(layout, "compact", corpus, "small shards", {"summary": report.summary()})
    return report


def _plan(layout: StoreLayout, corpus: str, dt: str | None, twice_below: int, size: int) -> Iterator[Repack]:
    dataset = layout.dataset(corpus, CLIPS)
    for partition in dataset.partitions() if dt is None else (dt,):
        head = read_head(dataset, partition)
        filled = [shard for shard in head.shards if shard.samples] if head else []
        first = _first_small(filled, twice_below, size)
        if head is None or first is None:
            continue
        old = tuple(shard.number for shard in filled[first:])
        frame = read_spine_manifest(dataset, head).filter(pl.col("shard").is_in(old)).sort("shard", "ordinal")
        yield Repack(
            partition=partition,
            old=old,
            new=_num_shards(frame.height, size),
            clips=frame.height,
            frame=frame,
            kept=tuple(shard for shard in head.shards if shard.number < old[0]),
            blocked=_blocked(layout, corpus, partition, frame),
        )


def _first_small(filled: list[ShardEntry], twice_below: int, size: int) -> int | None:
    """Return from which shard on repacking leaves fewer shards; None where it does not."""
    for place, shard in enumerate(filled):
        clips = sum(later.samples for later in filled[place:])
        if 2 * shard.samples < twice_below and _num_shards(clips, size) < len(filled) - place:
            return place
    return None


def _num_shards(clips: int, size: int) -> int:
    return -(-clips // size)


def _blocked(layout: StoreLayout, corpus: str, partition: str, frame: pl.DataFrame) -> str:
    """Say which feature is not made yet for these shards: what is due cannot be copied."""
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        head = read_head(dataset, partition)
        modality = read_schema(dataset).modality
        for (number,), rows in frame.partition_by("shard", as_dict=True).items() if head else ():
            entry = head.shard(int(number)) if head else None
            if entry is None and rows["superseded"].all():
                continue  # nobody will make it
            if entry is None or not is_made_from(entry.inputs, shard_inputs(rows, modality)):
                return f"{name} is due in shard {number}: run `mmpipe extract --corpus {corpus}` first"
    return ""


def _carry_out(layout: StoreLayout, corpus: str, repack: Repack, size: int) -> None:
    spine = layout.dataset(corpus, CLIPS)
    first = _reserve(spine, repack, size)
    row = pl.int_range(pl.len())
    placed = repack.frame.with_columns(
        new_shard=(first + row // size).cast(pl.Int32), new_ordinal=(row % size).cast(pl.Int32)
    )
    fell_out = read_quarantine(layout, corpus, (repack.partition,))
    for name in layout.feature_names(corpus):
        dropped = fell_out.filter(pl.col("feature") == name)["clip_key"]
        _add_new_shards(layout.dataset(corpus, name), repack.partition, placed, frozenset(dropped))
    _switch_spine(spine, repack, placed)


def _reserve(spine: DatasetLayout, repack: Repack, size: int) -> int:
    """Take the new numbers in the spine's manifest, so that an ingest in between uses none; return the first."""
    head = read_head(spine, repack.partition)
    assert head is not None, f"{repack.partition} was planned on a spine"
    mark = digest_of("compaction", size, *repack.frame["key"].to_list())
    if taken := [shard.number for shard in head.shards if shard.inputs == mark]:
        return taken[0]
    first = next_shard(head)
    reserved = {
        number: ShardEntry(number=number, files=(), samples=0, inputs=mark, spine=0)
        for number in range(first, first + repack.new)
    }
    recommit(spine, head, {shard.number: shard for shard in head.shards} | reserved)
    return first


def _add_new_shards(dataset: DatasetLayout, partition: str, placed: pl.DataFrame, dropped: Collection[str]) -> None:
    head = read_head(dataset, partition)
    if head is None:
        return
    modality = read_schema(dataset).modality
    values, fates, left_out = _read_values(dataset, head, placed, modality, dropped)
    made = {}
    for (number,), rows in placed.partition_by("new_shard", as_dict=True, maintain_order=True).items():
        places = rows.select("key", "new_ordinal").iter_rows()
        entry = write_rows(dataset, head, int(number), [(*values[key], at) for key, at in places if key in values])
        absent = sum(fates[key] == "absent" for key in rows["key"])
        moved = rows.with_columns(shard=pl.col("new_shard"), ordinal=pl.col("new_ordinal"))
        made[int(number)] = dataclasses.replace(
            entry,
            inputs=note_inputs(
                inputs_digest(moved, modality), moved.filter(pl.col("key").is_in(left_out))["ordinal"].to_list()
            ),
            spine=rows.height,
            absent=absent,
            quarantined=rows.height - entry.samples - absent,
        )
    recommit(dataset, head, {shard.number: shard for shard in head.shards} | made)


def _read_values(
    dataset: DatasetLayout, head: Manifest, placed: pl.DataFrame, modality: Modality, dropped: Collection[str]
) -> tuple[dict[str, tuple[ShardReader, int]], Mapping[str, str], Collection[str]]:
    """Return where each value lies, of each clip whether it has one, is absent or in quarantine, and what is left out.

    A shard that was never made, because all its clips are superseded, leaves them out.
    """
    values: dict[str, tuple[ShardReader, int]] = {}
    left_out: list[str] = []
    fates: dict[str, str] = {}
    for (number,), rows in placed.partition_by("shard", as_dict=True, maintain_order=True).items():
        entry = head.shard(int(number))
        if entry is None and rows["superseded"].all():
            left_out += rows["key"].to_list()
            fates |= dict.fromkeys(rows["key"], "absent")
            continue
        if entry is None:
            raise StoreError(f"{dataset.root} dt={head.partition} lost shard {number} meanwhile. Run the same again.")
        out = rows["ordinal"].is_in(list(split_inputs(entry.inputs)[1]))
        left_out += rows.filter(out)["key"].to_list()
        reader = ShardReader.open(dataset, entry, read_schema(dataset))
        values |= {key: (reader, row) for row, key in enumerate(reader.keys)} if reader else {}
        without = rows.filter(~pl.col("key").is_in(list(values))).sort(
            ~pl.col("key").is_in(left_out),
            pl.col("key").is_in(list(dropped)),
            pl.col(STREAM_COLUMNS[modality]) != "",
            "ordinal",
        )
        fates |= dict.fromkeys(rows["key"], "value") | {
            key: "absent" if place < entry.absent else "quarantined" for place, key in enumerate(without["key"])
        }
    return values, fates, left_out


def _switch_spine(spine: DatasetLayout, repack: Repack, placed: pl.DataFrame) -> None:
    head = read_head(spine, repack.partition)
    assert head is not None, f"{repack.partition} was planned on a spine"
    shards = {shard.number: shard for shard in repack.kept}
    moved = placed.with_columns(shard=pl.col("new_shard"), ordinal=pl.col("new_ordinal")).select(SPINE.names)
    for (number,), frame in moved.partition_by("shard", as_dict=True, maintain_order=True).items():
        entry = put_table(spine, repack.partition, SPINE, int(number), frame)
        shards[int(number)] = dataclasses.replace(entry, inputs=identity_digest(frame))
    recommit(spine, head, shards)


def _sweep(layout: StoreLayout, corpus: str, dt: str | None) -> int:
    """Drop the feature shards in which the spine has no clips, also of a killed compaction; return how many."""
    spine, swept = layout.dataset(corpus, CLIPS), 0
    for partition in spine.partitions() if dt is None else (dt,):
        head = read_head(spine, partition)
        if head is None:
            continue
        filled = {shard.number for shard in head.shards if shard.samples}
        for name in layout.feature_names(corpus):
            dataset = layout.dataset(corpus, name)
            made = read_head(dataset, partition)
            kept = {shard.number: shard for shard in made.shards if shard.number in filled} if made else {}
            if made and len(kept) != len(made.shards):
                swept += len(made.shards) - len(kept)
                recommit(dataset, made, kept)
    return swept
