"""What each partition of a feature holds and how it came to that: the figures behind the card.

They are kept beside it, a file a year, so that a commit reads one partition's manifests and not those of every night.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json
from mmpipe.store.identity import name_changes, read_identity
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.revisions import read_head, read_manifest
from mmpipe.store.snippets import shard_braces
from mmpipe.types import FeatureKind, FeatureSchema

FOLDER = "statistics"
CHANGES_KEPT = 20  # of one partition; older ones are in its manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionHistory:
    """One partition as its head says it: norms are L2 over each clip's value."""

    partition: str
    revision: int
    fingerprint: str
    files: str
    shards: int  # with at least one clip
    clips: int
    absent: int  # clips whose asset has no such modality
    quarantined: int
    num_nan: int
    num_zero: int
    num_constant: int
    norm_mean: float
    norm_min: float
    norm_max: float
    changes: tuple[str, ...]  # one per revision, newest first


def read_histories(
    dataset: DatasetLayout, schema: FeatureSchema, touched: Collection[str] | None = None
) -> tuple[tuple[PartitionHistory, ...], frozenset[str]]:
    """Return every partition's history, oldest first, and the years of which some were read anew.

    Without `touched`, all are. With it, only those partitions, new ones, and what somebody else committed in their
    years: the others are taken from beside the card.
    """
    partitions = dataset.partitions()
    kept: dict[str, PartitionHistory] = {}
    if touched is not None:
        found = {history.partition: history for history in read_kept(dataset)}
        numbers = _newest_revisions(dataset, {partition[:4] for partition in touched})
        kept = {
            partition: history
            for partition, history in found.items()
            if partition not in touched and numbers.get(partition, history.revision) == history.revision
        }
    heads = [read_head(dataset, partition) for partition in partitions if partition not in kept]
    fresh = {head.partition: history_of(dataset, schema, head) for head in heads if head is not None}
    known = kept | fresh
    years = frozenset(partition[:4] for partition in fresh)
    return tuple(known[partition] for partition in partitions if partition in known), years


def history_of(dataset: DatasetLayout, schema: FeatureSchema, head: Manifest) -> PartitionHistory:
    """Return what a head says of its partition, and what each revision before it changed."""
    filled = [shard for shard in head.shards if shard.files]
    statistics = [shard.statistics for shard in filled]
    total = sum(shard.samples for shard in filled)
    norms = math.fsum(shard.statistics.norm_mean * shard.samples for shard in filled)
    return PartitionHistory(
        partition=head.partition,
        revision=head.revision,
        fingerprint=head.fingerprint,
        files=_files(schema, head.partition, [shard.number for shard in filled]),
        shards=len(filled),
        clips=total,
        absent=sum(shard.absent for shard in head.shards),
        quarantined=sum(shard.quarantined for shard in head.shards),
        num_nan=sum(part.num_nan for part in statistics),
        num_zero=sum(part.num_zero for part in statistics),
        num_constant=sum(part.num_constant for part in statistics),
        norm_mean=float(f"{norms / max(1, total):.6g}"),
        norm_min=float(f"{min((part.norm_min for part in statistics), default=0.0):.6g}"),
        norm_max=float(f"{max((part.norm_max for part in statistics), default=0.0):.6g}"),
        changes=_changes(dataset, head),
    )


def statistics_files(histories: Sequence[PartitionHistory], years: Collection[str] | None = None) -> dict[str, bytes]:
    """Return the kept files by name, such as `statistics/2026.json`: a list of flat objects that any tool reads."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for history in histories:
        if years is None or history.partition[:4] in years:
            rows.setdefault(history.partition[:4], []).append(asdict(history))
    return {f"{FOLDER}/{year}.json": canonical_json(found) for year, found in rows.items()}


def _newest_revisions(dataset: DatasetLayout, years: Collection[str]) -> dict[str, int]:
    """Return the number of the newest manifest of every partition of some years; no manifest is opened."""
    newest: dict[str, int] = {}
    for year in sorted(years):
        for path in (dataset.root / "_meta").glob(f"dt={year}-*/*.json"):
            partition = path.parent.name.removeprefix("dt=")
            if path.stem.isdecimal():
                newest[partition] = max(newest.get(partition, 0), int(path.stem))
    return newest


def read_kept(dataset: DatasetLayout) -> list[PartitionHistory]:
    """Return what is kept beside the card; a damaged file is as good as none."""
    found: list[PartitionHistory] = []
    for path in sorted((dataset.root / FOLDER).glob("*.json")):
        try:
            rows = json.loads(path.read_bytes())
            found += [PartitionHistory(**{**row, "changes": tuple(row["changes"])}) for row in rows]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _files(schema: FeatureSchema, partition: str, numbers: Sequence[int]) -> str:
    if numbers and schema.kind is FeatureKind.SEQUENCE:
        return shard_braces(partition, numbers)
    return f"data/dt={partition}/*.parquet" if numbers else ""


def _changes(dataset: DatasetLayout, head: Manifest) -> tuple[str, ...]:
    found: list[str] = []
    current: Manifest | None = head
    while current is not None and len(found) < CHANGES_KEPT:
        before = _read_before(dataset, current)
        found.append(_change(dataset, before, current))
        current = before
    return tuple(found)


def _read_before(dataset: DatasetLayout, manifest: Manifest) -> Manifest | None:
    if manifest.revision == 1:
        return None
    try:
        return read_manifest(dataset, manifest.partition, manifest.revision - 1)
    except StoreError:
        return None  # `verify` tells of it; a commit must not fail on what is no longer the head


def _change(dataset: DatasetLayout, before: Manifest | None, after: Manifest) -> str:
    """Say in a few words what a revision did."""
    if after.revision == 1:
        return f"{after.samples} clips in {len(after.shards)} shards"
    if before is None:
        return f"{after.samples} clips; the revision before cannot be read"
    if before.fingerprint != after.fingerprint:
        why = _what_differs(dataset, before.fingerprint, after.fingerprint)
        return f"made anew ({why}): {before.samples} -> {after.samples} clips"
    old, new = _by_number(before), _by_number(after)
    counts = {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "made anew": sum(old[number] != new[number] for number in old.keys() & new.keys()),
    }
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none changed"
    return f"shards: {said}; {before.samples} -> {after.samples} clips"


def _what_differs(dataset: DatasetLayout, before: str, now: str) -> str:
    """Say what two fingerprints differ in, where both were noted."""
    one, two = read_identity(dataset, before), read_identity(dataset, now)
    if one and two and (one.weights, two.weights) == (before, now):  # a pin is fingerprint and weights at once
        return "from a new pin of theirs"
    named = name_changes(one, two) if one and two else ""
    return named or "by another extractor or with other parameters"


def _by_number(manifest: Manifest) -> dict[int, ShardEntry]:
    return {shard.number: shard for shard in manifest.shards}
