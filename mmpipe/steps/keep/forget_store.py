"""Take something out of all that is committed: redactions first, then the heads, the spine before the features."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence

import polars as pl

from mmpipe.errors import StoreError
from mmpipe.io import StorePath, remove_file
from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.keep.forget_order import ForgetOrder
from mmpipe.steps.plan.inputs import STREAM_COLUMNS, inputs_digest, note_inputs, split_inputs
from mmpipe.store.assets import ASSET_STREAMS
from mmpipe.store.banks import BANK_CLIPS
from mmpipe.store.commit import read_head
from mmpipe.store.layout import (
    ADMITTED,
    ASSETS,
    BANKS,
    CLIPS,
    PRINTS,
    QUARANTINE,
    SIGNALS,
    SURVEYS,
    TOMBSTONES,
    DatasetLayout,
    StoreLayout,
)
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.objects import has_object
from mmpipe.store.prints import STREAM_PRINTS
from mmpipe.store.quarantine import DROPS, read_quarantine
from mmpipe.store.redaction import Redaction, put_redaction, read_redaction, redact_manifest
from mmpipe.store.rewrite import every_shard, find_holders, rewrite_feature, rewrite_table
from mmpipe.store.schema import read_schema
from mmpipe.store.signals import CLIP_SIGNALS
from mmpipe.store.spine import SPINE, IngestTotals, identity_digest, read_spine
from mmpipe.store.surveys import ASSET_SURVEYS
from mmpipe.store.table import kind_of
from mmpipe.types import Modality

TABLES = {
    CLIPS: SPINE,
    ASSETS: ASSET_STREAMS,
    SIGNALS: CLIP_SIGNALS,
    SURVEYS: ASSET_SURVEYS,
    PRINTS: STREAM_PRINTS,
    BANKS: BANK_CLIPS,
    QUARANTINE: DROPS,
}
Holders = Mapping[str, frozenset[str]]  # objects that hold something of it, by dataset


def holders_of(layout: StoreLayout, order: ForgetOrder) -> Holders:
    """Return the objects that hold something of what is forgotten, of every dataset and revision."""
    names = [name for name in layout.dataset_names(order.corpus) if name not in (TOMBSTONES, ADMITTED)]
    return {name: find_holders(layout.dataset(order.corpus, name), order.traces) for name in names}


def rewrite_datasets(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> None:
    """Make every shard that holds it again without it, and bring the heads to those; old objects are still there."""
    for name, held in holders.items():
        _redact(layout.dataset(order.corpus, name), order, held)
    # Readers look up the spine's clips in the features, so the spine loses its rows first.
    for name in TABLES:
        if name in holders:
            _commit_table(layout.dataset(order.corpus, name), order)
    removed, remaining = order.spine_rows(), read_spine(layout, order.corpus)
    fell_out = read_quarantine(layout, order.corpus)
    for name in sorted(set(holders) - set(TABLES)):
        dataset = layout.dataset(order.corpus, name)
        dropped = list(fell_out.filter(pl.col("feature") == name)["clip_key"])
        for partition in dataset.partitions():
            _commit_feature(dataset, partition, removed, remaining, dropped)


def delete_objects(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> int:
    """Delete the objects that hold it, pinned or not; return how many. Refuse where a head still names one."""
    for name, held in holders.items():
        dataset = layout.dataset(order.corpus, name)
        heads = [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]
        named = {file.sha256 for head in heads for shard in head.shards for file in shard.files}
        if named & held:
            raise StoreError(
                f"{order.corpus}/{name} was committed anew meanwhile. Nothing is lost: run the same again."
            )
        for sha256 in sorted(held):
            remove_file(dataset.object(sha256))
    return sum(len(held) for held in holders.values())


def holds_traces(path: StorePath, order: ForgetOrder) -> bool:
    """Say whether unfinished work speaks of it; a table that cannot be read is taken to."""
    data = path.read_bytes()
    if any(text.encode() in data for text in (*order.keys, *order.asset_ids, *order.streams)):
        return True
    if data[:4] != b"PAR1":
        return False
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return True
    return bool(frame.select(order.traces.rows(frame.columns).any()).item()) if frame.height else False


def _redact(dataset: DatasetLayout, order: ForgetOrder, held: frozenset[str]) -> None:
    for manifest, shard in every_shard(dataset):
        if not held.intersection(file.sha256 for file in shard.files):
            continue
        data = shard.file("data")
        if data is None or read_redaction(dataset, data.sha256):
            continue
        if not all(has_object(dataset, file) for file in shard.files):
            continue  # collected long ago, but for a part
        entry = _rewrite(dataset, manifest, shard, order)
        put_redaction(dataset, data.sha256, Redaction(entry=entry, assets=order.subjects, reason=order.reason))


def _rewrite(dataset: DatasetLayout, manifest: Manifest, shard: ShardEntry, order: ForgetOrder) -> ShardEntry:
    table = TABLES.get(dataset.name)
    if table is None:
        return rewrite_feature(dataset, manifest, shard, order.traces)
    kind = kind_of(dataset, table, manifest)  # an older revision keeps its own columns
    entry, frame = rewrite_table(dataset, manifest.partition, kind, shard, order.traces)
    return dataclasses.replace(entry, inputs=identity_digest(frame)) if table is SPINE else entry


def _commit_table(dataset: DatasetLayout, order: ForgetOrder) -> None:
    for partition in dataset.partitions():
        head = read_head(dataset, partition)
        if head is None or (after := redact_manifest(dataset, head)) == head:
            continue
        totals = _totals(head.totals, order.moved.get(partition, {})) if dataset.name == CLIPS else None
        recommit(dataset, head, {shard.number: shard for shard in after.shards}, totals)


def _commit_feature(
    dataset: DatasetLayout, partition: str, removed: pl.DataFrame, remaining: pl.DataFrame, dropped: Sequence[str]
) -> None:
    head = read_head(dataset, partition)
    if head is None:
        return
    modality = read_schema(dataset).modality
    after: dict[int, ShardEntry] = {}
    for old, new in zip(head.shards, redact_manifest(dataset, head).shards, strict=True):
        here = (pl.col("partition") == partition) & (pl.col("shard") == old.number)
        gone, stay = removed.filter(here), remaining.filter(here)
        if gone.is_empty() or old.spine != gone.height + stay.height:
            after[old.number] = old if old.files == new.files else new
        elif not stay.is_empty():  # an emptied shard leaves the feature; the spine keeps its number
            num_dropped = stay.filter(pl.col("key").is_in(dropped)).height
            after[old.number] = _without(old, new, gone, stay, modality, num_dropped)
    if tuple(after.values()) != head.shards:
        recommit(dataset, head, after)


def _without(
    old: ShardEntry, new: ShardEntry, gone: pl.DataFrame, stay: pl.DataFrame, modality: Modality, num_dropped: int
) -> ShardEntry:
    """Return the entry of a shard without some clips: each had a value, or nothing to make one of, or was quarantined.

    `num_dropped` of those that stay are in quarantine.
    """
    valueless = gone.height - (old.samples - new.samples)
    quarantined = min(max(old.quarantined - num_dropped, valueless - old.absent, 0), valueless, old.quarantined)
    absent = valueless - quarantined
    columns = ("ordinal", "key", "start_ns", "end_ns", STREAM_COLUMNS[modality])
    before = pl.concat([gone.select(columns), stay.select(columns)])
    digest, left_out = split_inputs(old.inputs)
    was_current = digest == inputs_digest(before, modality)
    still_out = left_out.intersection(stay["ordinal"])
    return dataclasses.replace(
        new,
        inputs=note_inputs(inputs_digest(stay, modality), still_out) if was_current else old.inputs,
        absent=old.absent - absent,
        quarantined=old.quarantined - quarantined,
        spine=stay.height,
    )


def _totals(before: Mapping[str, int], moved: Mapping[str, int]) -> Mapping[str, int]:
    """Count the files as tombstoned."""
    if not before:
        return before
    after = dict(before)
    for fate, count in moved.items():
        taken = min(count, after[fate])
        after[fate] -= taken
        after["tombstoned"] += taken
    return dataclasses.asdict(IngestTotals(**after))
