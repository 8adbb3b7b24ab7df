"""A frozen set of manifests: what a training run read, for as long as the store lives.

Beside clips and features it may pin tables that explain them: the signals that filters chose by, and the banks that
noise was mixed from. These decide nothing of what is read; format 2 of the record has them.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import canonical_json, keep_young, make_directory, put_if_absent, write_durable
from mmpipe.store.layout import BANKS, CLIPS, SIGNALS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.redaction import redact_manifest
from mmpipe.store.revisions import list_revisions, manifest_name, read_head
from mmpipe.store.snapshot_names import NAMES_FOLDER, read_name, resolve_snapshot
from mmpipe.store.spine import read_spine_manifest
from mmpipe.store.table import PARTITION_COLUMN

DIGEST_LENGTH = 24
PLAIN, WITH_TABLES = 1, 2  # formats of the record
PINNED_TABLES = (BANKS, SIGNALS)
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SnapshotEntry:
    """One manifest, pinned by its digest."""

    dataset: str
    partition: str
    revision: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Pinned manifests of one corpus: the spine's, those of the chosen features, and of tables beside them."""

    corpus: str
    entries: tuple[SnapshotEntry, ...]  # sorted
    format: int = PLAIN  # of this record, whatever the layout around it

    @property
    def digest(self) -> str:
        """Return the 24 characters that name the snapshot."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:DIGEST_LENGTH]

    @property
    def partitions(self) -> tuple[str, ...]:
        """Return the spine's pinned partitions, oldest first."""
        return tuple(entry.partition for entry in self.of(CLIPS))

    @property
    def features(self) -> tuple[str, ...]:
        """Return the pinned features by name."""
        return tuple(sorted({entry.dataset for entry in self.entries} - {CLIPS, *PINNED_TABLES}))

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables that are pinned beside clips and features."""
        return tuple(sorted({entry.dataset for entry in self.entries} & {*PINNED_TABLES}))

    @property
    def core(self) -> Snapshot:
        """Return the clips and features alone: equal ones are read equally."""
        entries = tuple(entry for entry in self.entries if entry.dataset not in PINNED_TABLES)
        return Snapshot(corpus=self.corpus, entries=entries) if self.tables else self

    def of(self, dataset: str) -> tuple[SnapshotEntry, ...]:
        """Return a dataset's entries, oldest partition first."""
        return tuple(entry for entry in self.entries if entry.dataset == dataset)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "snapshot") -> Snapshot:
        """Read canonical JSON; raise StoreError on anything else."""
        try:
            table = json.loads(data)
            snapshot = cls(**{**table, "entries": tuple(SnapshotEntry(**entry) for entry in table["entries"])})
            if snapshot.to_bytes() != data or snapshot.entries != tuple(sorted(snapshot.entries)):
                raise ValueError("it is not in its canonical form")
            if snapshot.format != (WITH_TABLES if snapshot.tables else PLAIN):
                raise ValueError(f"its format is {snapshot.format!r}; this mmpipe knows {PLAIN} and {WITH_TABLES}")
            if not snapshot.of(CLIPS):
                raise ValueError("it pins no spine")
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{where} is damaged: {error}. Run `mmpipe verify`.") from error
        return snapshot


def take_snapshot(
    layout: StoreLayout,
    corpus: str,
    features: Sequence[str],
    partitions: Iterable[str] | None = None,
    tables: Collection[str] = (),
) -> Snapshot:
    """Pin the heads of the spine and of the features; a feature may lack a partition, but not all of them.

    Of `tables` there may be none at all.
    """
    spine = layout.dataset(corpus, CLIPS)
    chosen = tuple(sorted(set(partitions))) if partitions is not None else spine.partitions()
    pinned = _pin_heads(spine, chosen)
    if not pinned or (partitions is not None and len(pinned) != len(chosen)):
        raise ConfigError(
            f"the spine of {corpus!r} lacks partitions of {list(chosen)}; it has {list(spine.partitions())}. "
            "Run `mmpipe ingest` first."
        )
    for feature in sorted(set(features)):
        entries = _pin_heads(layout.dataset(corpus, feature), chosen)
        if not entries:
            known = list(layout.feature_names(corpus))
            raise ConfigError(
                f"{corpus!r} has no shards of {feature!r} in {list(chosen)}; features there: {known}. "
                "Run `mmpipe extract` first."
            )
        pinned += entries
    beside = [entry for name in tables for entry in _pin_table(layout.dataset(corpus, name), chosen)]
    if any(list_revisions(spine, entry.partition)[-1] != entry.revision for entry in pinned if entry.dataset == CLIPS):
        return take_snapshot(layout, corpus, features, partitions, tables)  # clips may have moved between the two looks
    every = tuple(sorted((*pinned, *beside)))
    return Snapshot(corpus=corpus, entries=every, format=WITH_TABLES if beside else PLAIN)


def save_snapshot(layout: StoreLayout, snapshot: Snapshot) -> Path:
    """Keep a snapshot under its digest; what is kept already stays."""
    path = snapshot_path(layout, snapshot.digest)
    if path.exists():
        keep_young(path)
        return path
    make_directory(path.parent)
    temporary = make_directory(layout.staging) / f"snapshot-{uuid.uuid4().hex}.json"
    try:
        write_durable(temporary, snapshot.to_bytes())
        put_if_absent(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_snapshot(layout: StoreLayout, reference: str) -> Snapshot:
    """Read a kept snapshot by name or digest, and check that each of its manifests is still what was pinned."""
    snapshot = read_snapshot(layout, resolve_snapshot(layout, reference))
    for entry in snapshot.entries:
        pinned_manifest(layout.dataset(snapshot.corpus, entry.dataset), entry)
    return snapshot


def read_snapshot(layout: StoreLayout, digest: str) -> Snapshot:
    """Read a kept snapshot's own record; what it pins is not looked at."""
    path = snapshot_path(layout, digest)
    try:
        snapshot = Snapshot.from_bytes(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        known = list_snapshots(layout)
        raise ConfigError(f"no snapshot {digest}; {len(known)} are kept, such as: {list(known[:5])}") from error
    if snapshot.digest != path.stem:
        raise StoreError(f"{path} is damaged: its digest is {snapshot.digest}. Run `mmpipe verify`.")
    return snapshot


def list_snapshots(layout: StoreLayout) -> tuple[str, ...]:
    """Return the digests of the snapshots that are kept."""
    return tuple(sorted(path.stem for path in layout.snapshots.glob("*.json")))


def find_name_faults(layout: StoreLayout) -> Iterator[tuple[Path, str]]:
    """Yield (path, what is wrong) for every name that is not whole, or stands for no snapshot."""
    for path in sorted((layout.snapshots / NAMES_FOLDER).glob("*")):
        try:
            read_snapshot(layout, read_name(layout, path.stem).snapshot)
        except (StoreError, ConfigError) as error:
            yield path, str(error)


def pinned_manifest(dataset: DatasetLayout, entry: SnapshotEntry) -> Manifest:
    """Read the manifest that an entry pins; raise StoreError where it is gone or changed."""
    path = dataset.meta(entry.partition) / manifest_name(entry.revision)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing, but a snapshot names it. Run `mmpipe verify`.") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise StoreError(f"{path} is not the manifest that a snapshot names. Run `mmpipe verify`.")
    return redact_manifest(dataset, Manifest.from_bytes(data, str(path)))  # what was forgotten is gone from it too


def read_pinned_spine(layout: StoreLayout, snapshot: Snapshot) -> pl.DataFrame:
    """Return the spine as pinned, labels and splits included, in the columns of `read_spine`."""
    dataset = layout.dataset(snapshot.corpus, CLIPS)
    frames = [
        read_spine_manifest(dataset, pinned_manifest(dataset, entry)).select(
            pl.lit(entry.partition).alias(PARTITION_COLUMN), pl.all()
        )
        for entry in snapshot.of(CLIPS)
    ]
    return pl.concat(frames, rechunk=True)


def snapshot_path(layout: StoreLayout, digest: str) -> Path:
    """Return where a snapshot is kept; its digest may also be given in full."""
    short = digest[:DIGEST_LENGTH]
    if not _DIGEST.fullmatch(short):
        raise ConfigError(f"a snapshot is named by {DIGEST_LENGTH} hex digits, got {digest!r}")
    return layout.snapshots / f"{short}.json"


def _pin_table(dataset: DatasetLayout, partitions: Sequence[str]) -> list[SnapshotEntry]:
    """Pin a table of some dates; banks lie under one date, whichever clips they are mixed into."""
    assert dataset.name in PINNED_TABLES, f"{dataset.name} cannot be pinned beside clips"
    there = dataset.partitions()
    return _pin_heads(dataset, there if dataset.name == BANKS else [date for date in partitions if date in there])


def _pin_heads(dataset: DatasetLayout, partitions: Sequence[str]) -> list[SnapshotEntry]:
    heads = [read_head(dataset, partition) for partition in partitions]
    return [
        SnapshotEntry(dataset=dataset.name, partition=head.partition, revision=head.revision, sha256=head.digest())
        for head in heads
        if head is not None
    ]
