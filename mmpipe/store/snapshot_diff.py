"""What lies between two snapshots: per dataset and partition, in shards, clips and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.snapshot import Snapshot, SnapshotEntry, pinned_manifest
from mmpipe.store.spine import read_spine_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionDiff:
    """How one partition of a dataset differs; a revision of 0 means that one side has none."""

    dataset: str
    partition: str
    revision_before: int
    revision_after: int
    shards_added: int
    shards_removed: int
    shards_changed: int
    clips_added: int  # of the spine: live clips; of a feature: values more or fewer
    clips_removed: int
    clips_relabelled: int  # of the spine
    clips_resplit: int  # of the spine: in another split
    quarantined: int  # of a feature: clips that could not be used, more or fewer


def diff_snapshots(layout: StoreLayout, before: Snapshot, after: Snapshot) -> tuple[PartitionDiff, ...]:
    """Return every partition that differs, by dataset and date; the snapshots may be of different corpora."""
    return tuple(_partitions(layout, before, after))


def _partitions(layout: StoreLayout, before: Snapshot, after: Snapshot) -> Iterator[PartitionDiff]:
    left, right = _entries(before), _entries(after)
    for place in sorted(left.keys() | right.keys()):
        one, two = left.get(place), right.get(place)
        if one is not None and two is not None and (one.sha256, before.corpus) == (two.sha256, after.corpus):
            continue
        yield _diff(layout, place, (before.corpus, one), (after.corpus, two))


def _entries(snapshot: Snapshot) -> dict[tuple[str, str], SnapshotEntry]:
    return {(entry.dataset, entry.partition): entry for entry in snapshot.entries}


def _diff(
    layout: StoreLayout,
    place: tuple[str, str],
    before: tuple[str, SnapshotEntry | None],
    after: tuple[str, SnapshotEntry | None],
) -> PartitionDiff:
    dataset, partition = place
    one, two = _manifest(layout, dataset, before), _manifest(layout, dataset, after)
    left = {shard.number: shard.files for shard in one.shards} if one else {}
    right = {shard.number: shard.files for shard in two.shards} if two else {}
    clips = _spine_changes(layout, before, after) if dataset == CLIPS else _value_changes(one, two)
    return PartitionDiff(
        dataset=dataset,
        partition=partition,
        revision_before=one.revision if one else 0,
        revision_after=two.revision if two else 0,
        shards_added=len(right.keys() - left.keys()),
        shards_removed=len(left.keys() - right.keys()),
        shards_changed=sum(left[number] != right[number] for number in left.keys() & right.keys()),
        clips_added=clips[0],
        clips_removed=clips[1],
        clips_relabelled=clips[2],
        clips_resplit=clips[3],
        quarantined=_quarantined(two) - _quarantined(one),
    )


def _manifest(layout: StoreLayout, dataset: str, side: tuple[str, SnapshotEntry | None]) -> Manifest | None:
    corpus, entry = side
    return pinned_manifest(layout.dataset(corpus, dataset), entry) if entry else None


def _value_changes(one: Manifest | None, two: Manifest | None) -> tuple[int, int, int, int]:
    more = (two.samples if two else 0) - (one.samples if one else 0)
    return max(more, 0), max(-more, 0), 0, 0


def _spine_changes(
    layout: StoreLayout, before: tuple[str, SnapshotEntry | None], after: tuple[str, SnapshotEntry | None]
) -> tuple[int, int, int, int]:
    """Return how many live clips were added, removed, relabelled and put into another split."""
    left, right = _live_clips(layout, before), _live_clips(layout, after)
    both = left.join(right, on="key", how="inner", suffix="_after")
    return (
        right.join(left, on="key", how="anti").height,
        left.join(right, on="key", how="anti").height,
        both.filter(pl.col("labels") != pl.col("labels_after")).height,
        both.filter(pl.col("split") != pl.col("split_after")).height,
    )


def _live_clips(layout: StoreLayout, side: tuple[str, SnapshotEntry | None]) -> pl.DataFrame:
    corpus, entry = side
    if entry is None:
        return pl.DataFrame(schema=dict.fromkeys(("key", "labels", "split"), pl.String))
    dataset = layout.dataset(corpus, CLIPS)
    frame = read_spine_manifest(dataset, pinned_manifest(dataset, entry)).filter(~pl.col("superseded"))
    return frame.select(pl.col("key", "labels", "split").cast(pl.String))


def _quarantined(manifest: Manifest | None) -> int:
    return sum(shard.quarantined for shard in manifest.shards) if manifest and manifest.dataset != CLIPS else 0
