"""Snapshots by name: freeze what the store holds, list, show, drop and compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ground.retention import snapshot_holders
from mmpipe.store.audit import AuditEvent, append_event, read_events, this_person
from mmpipe.store.layout import CLIPS, StoreLayout, open_store
from mmpipe.store.redaction import redactions_of
from mmpipe.store.revisions import read_manifest
from mmpipe.store.snapshot import (
    PINNED_TABLES,
    Snapshot,
    list_snapshots,
    load_snapshot,
    pinned_manifest,
    read_snapshot,
    save_snapshot,
    take_snapshot,
)
from mmpipe.store.snapshot_diff import PartitionDiff, diff_snapshots
from mmpipe.store.snapshot_names import HEAD, SnapshotName, list_names, name_path, put_name, read_name, remove_name


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSnapshot:
    """A snapshot as a person sees it."""

    name: str  # "" where it has none
    snapshot: str
    corpus: str
    features: tuple[str, ...]
    first: str
    last: str
    partitions: int
    created_at: str
    created_by: str
    reason: str
    held_by: tuple[str, ...]  # checkpoints and releases that rest on it
    redacted: int  # assets that were forgotten out of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPartition:
    """One manifest of a snapshot."""

    dataset: str
    partition: str
    revision: int
    shards: int
    clips: int
    nbytes: int
    sha256: str
    redacted: bool = False  # something was forgotten out of it since


def create_snapshot(
    config: Config,
    name: str,
    corpus: str,
    features: Sequence[str] | None = None,
    first: str | None = None,
    last: str | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> KeptSnapshot:
    """Freeze the heads of a corpus under a name; the same again changes nothing."""
    layout = open_store(config.store, to_write=not dry_run)
    name_path(layout, name)  # refuses what can be no name before anything is read
    chosen, dates = choose_features(layout, corpus, features), _dates(layout, corpus, first, last)
    snapshot = _as_kept(layout, name, take_snapshot(layout, corpus, chosen, dates, PINNED_TABLES))
    record = SnapshotName(
        name=name,
        snapshot=snapshot.digest,
        corpus=corpus,
        features=snapshot.features,
        reason=reason,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=this_person(),
    )
    if not dry_run:
        save_snapshot(layout, snapshot)
        if put_name(layout, record):
            facts = {"corpus": corpus, "features": list(snapshot.features), "partitions": list(snapshot.partitions)}
            append_event(layout, "snapshot-create", name, reason, facts, result=snapshot.digest)
        record = read_name(layout, name)
    return _describe(layout, snapshot, record, snapshot_holders(layout).get(snapshot.digest, ()))


def kept_snapshots(config: Config) -> tuple[KeptSnapshot, ...]:
    """Return every snapshot: the named ones by name, then the others by digest."""
    layout = open_store(config.store)
    holders, names = snapshot_holders(layout), list_names(layout)
    named = [(record.snapshot, record) for record in names]
    rest = [(digest, None) for digest in list_snapshots(layout) if digest not in {record.snapshot for record in names}]
    return tuple(
        _describe(layout, read_snapshot(layout, digest), record, holders.get(digest, ()))
        for digest, record in [*named, *rest]
    )


def pinned_partitions(config: Config, reference: str) -> tuple[PinnedPartition, ...]:
    """Return what a snapshot pins, one row per manifest."""
    layout = open_store(config.store)
    snapshot = load_snapshot(layout, reference)
    rows = []
    for entry in snapshot.entries:
        dataset = layout.dataset(snapshot.corpus, entry.dataset)
        manifest = pinned_manifest(dataset, entry)
        rows.append(
            PinnedPartition(
                dataset=entry.dataset,
                partition=entry.partition,
                revision=entry.revision,
                shards=len(manifest.shards),
                clips=manifest.samples,
                nbytes=sum(file.nbytes for shard in manifest.shards for file in shard.files),
                sha256=entry.sha256,
                redacted=manifest != read_manifest(dataset, entry.partition, entry.revision),
            )
        )
    return tuple(rows)


def drop_snapshot(config: Config, name: str, reason: str, dry_run: bool = False) -> KeptSnapshot:
    """Take a name away; what no checkpoint and no release rests on is then left to `mmpipe gc`."""
    layout = open_store(config.store, to_write=not dry_run)
    record = read_name(layout, name)
    if not reason.strip():
        raise ConfigError("say why the snapshot is dropped: --reason TEXT; it is kept in the audit log")
    if not dry_run:
        facts = {"corpus": record.corpus, "created_at": record.created_at, "created_by": record.created_by}
        append_event(layout, "snapshot-drop", name, reason, facts, result=record.snapshot)  # before, so none is silent
        remove_name(layout, name)
    holders = snapshot_holders(layout).get(record.snapshot, ())
    return _describe(layout, read_snapshot(layout, record.snapshot), record, holders)


def compare_snapshots(config: Config, before: str, after: str) -> tuple[PartitionDiff, ...]:
    """Return what differs between two snapshots; each is a name, a digest, or `head`: what the store holds now."""
    if before == after == HEAD:
        raise ConfigError("one side must be a snapshot: mmpipe snapshot diff NAME head")
    layout = open_store(config.store)
    if before == HEAD:
        two = load_snapshot(layout, after)
        return diff_snapshots(layout, _head_like(layout, two), two)
    one = load_snapshot(layout, before)
    return diff_snapshots(layout, one, _head_like(layout, one) if after == HEAD else load_snapshot(layout, after))


def audit_log(config: Config) -> tuple[AuditEvent, ...]:
    """Return the audit log, oldest first; StoreError where somebody has changed it."""
    return read_events(open_store(config.store))


def choose_features(layout: StoreLayout, corpus: str, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """Return features as the store calls them; `audio-logmel` will do where it has one version."""
    known = layout.feature_names(corpus)
    if not wanted:
        return known
    chosen = []
    for name in wanted:
        found = [feature for feature in known if name in (feature, feature.partition("@")[0])]
        if len(found) != 1:
            raise ConfigError(f"{name!r} names {len(found)} features of {corpus!r}; there are: {list(known)}")
        chosen += found
    return tuple(chosen)


def _as_kept(layout: StoreLayout, name: str, snapshot: Snapshot) -> Snapshot:
    """Return what a name stands for already where it has the same clips and features: it stays as it was frozen."""
    named = [record.snapshot for record in list_names(layout) if record.name == name]
    kept = read_snapshot(layout, named[0]) if named else snapshot
    return kept if kept.core == snapshot.core else snapshot


def _head_like(layout: StoreLayout, snapshot: Snapshot) -> Snapshot:
    return take_snapshot(layout, snapshot.corpus, snapshot.features, tables=snapshot.tables)


def _dates(layout: StoreLayout, corpus: str, first: str | None, last: str | None) -> tuple[str, ...] | None:
    if not (first or last):
        return None
    there = layout.dataset(corpus, CLIPS).partitions()
    chosen = tuple(date for date in there if (first or date) <= date <= (last or date))
    if not chosen:
        raise ConfigError(f"{corpus!r} has no clips from {first or 'the start'} to {last or 'the end'}; it has {there}")
    return chosen


def _describe(
    layout: StoreLayout, snapshot: Snapshot, record: SnapshotName | None, holders: Sequence[str]
) -> KeptSnapshot:
    return KeptSnapshot(
        name=record.name if record else "",
        snapshot=snapshot.digest,
        corpus=snapshot.corpus,
        features=snapshot.features,
        first=snapshot.partitions[0],
        last=snapshot.partitions[-1],
        partitions=len(snapshot.partitions),
        created_at=record.created_at if record else "",
        created_by=record.created_by if record else "",
        reason=record.reason if record else "",
        held_by=tuple(holders),
        redacted=len(redactions_of(layout, snapshot)),
    )
