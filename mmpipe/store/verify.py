"""Check that a store's bytes are what its manifests say, and that the manifests agree with one another.

Everything that can be checked is: a store is only as good as the last time somebody looked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import StorePath, local_file, sha256_file
from mmpipe.remote import RemotePath
from mmpipe.store.atwork import find_writer
from mmpipe.store.bankscard import render_banks_card
from mmpipe.store.card import read_heads, render_card
from mmpipe.store.finding import (
    HEAL,
    READMIT,
    RECOUNT,
    REDRAW,
    REMAKE,
    REMEASURE,
    RESTORE,
    RESTORE_REVISION,
    SET_ASIDE,
    Finding,
    Severity,
)
from mmpipe.store.identity import FINGERPRINTS
from mmpipe.store.layout import (
    ADMITTED,
    BANKS,
    CLIPS,
    FIRST_VERSION,
    FORMAT_VERSION,
    PRINTS,
    SIGNALS,
    SURVEYS,
    DatasetLayout,
    StoreLayout,
    format_bytes,
)
from mmpipe.store.lostrevision import Pins, find_lost, read_cards, read_pins
from mmpipe.store.manifest import ROLES, FileEntry, Manifest
from mmpipe.store.revisions import list_revisions, manifest_name, read_manifest
from mmpipe.store.schema import SCHEMA_NAME, read_schema
from mmpipe.store.signalscard import render_signals_card
from mmpipe.store.snapshot import find_name_faults, load_snapshot, pinned_manifest
from mmpipe.store.snapshot_names import NAMES_FOLDER
from mmpipe.store.spinecard import README_NAME, render_spine_card
from mmpipe.store.verifynote import note_fault
from mmpipe.store.verifyshard import spine_keys, verify_shards
from mmpipe.store.view import view_folder
from mmpipe.types import PARTITION_PATTERN

_COMPACT = "Run `mmpipe compact` again: it finishes what was cut short; readers are right until then."
_REMOVE = "Nothing reads it. Look at it, and remove it."
_NOTE = "`mmpipe verify --repair` notes it again, or sets it aside: it only tells what a change of values was."
_MIGRATE = f"`mmpipe migrate` brings it to layout {FORMAT_VERSION}, in place; look before with --dry-run."
_FORMAT = "`mmpipe verify --repair` writes it again, with the version that the tables tell of."
_WAYS_OUT = {"compaction_unfinished": _COMPACT, "statistics_mismatch": RECOUNT}
# Of tables that have another source than themselves; the rest only a copy has.
WAYS_TO_TABLES = {SIGNALS: REMEASURE, SURVEYS: REMEASURE, PRINTS: REMEASURE, BANKS: REDRAW, ADMITTED: READMIT}
FOLLOWS = frozenset({"view_missing", "view_extra", "view_stale", "card_stale", "compaction_unfinished"})
_WAIT = "No copy gives other values: mend the extractor, raise its version, and run again."


def verify_store(layout: StoreLayout, corpus: str | None = None) -> tuple[Finding, ...]:
    """Return everything that is wrong with a store, or with one corpus of it; nothing is changed."""
    found = list(_verify_format(layout)) if corpus is None else []
    pins = read_pins(layout)
    for name in chosen_corpora(layout, corpus):
        for folder in sorted(path for path in (layout.root / name).iterdir() if path.is_dir()):
            found += _look(layout, layout.dataset(name, folder.name), pins)
    if corpus is None:
        found += _verify_snapshots(layout)
    return tuple(sorted(set(found)))


def _look(layout: StoreLayout, dataset: DatasetLayout, pins: Pins) -> list[Finding]:
    """Return what is wrong with a dataset; what a living writer is about to bring up behind its manifest is no damage.

    A writer may come and go between two of our looks: what counts is there in two of them, with nobody at work.
    """
    before: set[Finding] = set()
    while True:
        found = set(_DatasetCheck(layout, dataset, pins).findings())
        following = {finding for finding in found if finding.code in FOLLOWS}
        if who := find_writer(layout, dataset.corpus) if following else "":
            way_out = f"{who} is at work there: look again when that has ended."
            waiting = {replace(finding, severity=Severity.WARNING, way_out=way_out) for finding in following}
            return sorted(found - following | waiting)
        if following == before:
            return sorted(found)
        before = following


class _DatasetCheck:
    """All checks of one dataset, from the manifests outward: bytes first, so that only whole files are parsed."""

    def __init__(self, layout: StoreLayout, dataset: DatasetLayout, pins: Pins) -> None:
        self._layout = layout
        self._dataset = dataset
        self._pins = pins
        self._cards = read_cards(dataset)  # before any manifest: a commit in between is no alarm then
        self._heads: dict[str, Manifest] = {}
        self._unreadable: set[str] = set()  # partitions whose head is damaged: nothing can be said of their view
        self._sizes: dict[str, int] = {}
        self._whole: set[str] = set()  # digests of objects that are what they are named after

    @property
    def _way_to_bytes(self) -> str:
        """Say how lost bytes come back: a feature is made from the raw files again, the spine has no other source."""
        return REMAKE if self._dataset.is_feature else WAYS_TO_TABLES.get(self._dataset.name, RESTORE)

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong."""
        for partition in self._partitions():
            yield from self._verify_chain(partition)
        self._sizes = {file.sha256: file.nbytes for head in self._heads.values() for file in _files(head)}
        yield from self._verify_objects()
        for partition in self._partitions():
            if partition not in self._unreadable:
                yield from self._verify_named(partition)
                yield from self._verify_end(partition, list(self._verify_view(partition)))
        yield from self._verify_fingerprints()
        if self._dataset.is_feature:
            yield from self._verify_feature()
        else:
            yield from self._verify_tables()

    def _partitions(self) -> list[str]:
        names = {path.name.removeprefix("dt=") for path in self._dataset.root.glob("*/dt=*")}
        return sorted(name for name in names if PARTITION_PATTERN.match(name))

    def _verify_chain(self, partition: str) -> Iterator[Finding]:
        """Check that revisions count from 1, parse, and each names the bytes of the one before."""
        folder = self._dataset.meta(partition)
        numbers = list_revisions(self._dataset, partition)
        wanted = {manifest_name(number) for number in numbers}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name not in wanted:
                yield self._finding("unexpected_file", path, "it is no manifest", _REMOVE)
        parent = ""
        for number in range(1, max(numbers, default=0) + 1):
            path = folder / manifest_name(number)
            try:
                manifest = read_manifest(self._dataset, partition, number)
            except StoreError as error:
                way_out = SET_ASIDE if self._dataset.is_feature and number == numbers[-1] else RESTORE
                yield self._finding("manifest_damaged", path, str(error), way_out)
                if number == numbers[-1]:
                    self._unreadable.add(partition)
                parent = sha256_file(path) if path.is_file() else "missing"
                continue
            if manifest.parent != parent:
                yield self._finding("manifest_parent", path, "it was not made from the revision before it", RESTORE)
            parent = manifest.digest()
            if number == numbers[-1]:
                self._heads[partition] = manifest

    def _verify_objects(self) -> Iterator[Finding]:
        """Check that every object holds the bytes it is named after."""
        for path in sorted((self._dataset.root / "objects").glob("**/*")):
            if path.is_dir():
                continue
            if path != self._dataset.object(path.name):
                yield self._finding("unexpected_file", path, "it is no object", _REMOVE)
            elif path.stat().st_size != self._sizes.get(path.name, path.stat().st_size):
                detail = f"it has {path.stat().st_size} bytes, its manifest says {self._sizes[path.name]}"
                yield self._finding("object_size", path, detail, self._way_to_bytes)
            elif sha256_file(path) != path.name:
                yield self._finding("object_damaged", path, "its sha256 is not its name", self._way_to_bytes)
            else:
                self._whole.add(path.name)

    def _verify_named(self, partition: str) -> Iterator[Finding]:
        """Check that the head's objects are there."""
        for file in _files(self._heads.get(partition)):
            path = self._dataset.object(file.sha256)
            if not path.is_file():
                yield self._finding("object_missing", path, f"{file.name} of {partition} needs it", self._way_to_bytes)

    def _verify_end(self, partition: str, of_view: list[Finding]) -> Iterator[Finding]:
        """Check that the newest manifests are there; where they are not, the view is right and the head is wrong."""
        suspects = [self._layout.root / finding.path for finding in of_view if finding.code != "view_missing"]
        head = self._heads.get(partition)
        seen = head.revision if head else 0
        lost = find_lost(self._dataset, partition, self._pins, self._cards, suspects, seen)
        if lost is None:
            yield from of_view
            return
        for number in lost.numbers:
            path = self._dataset.meta(partition) / manifest_name(number)
            yield self._finding("manifest_missing", path, f"it was committed: {lost.evidence}", RESTORE_REVISION)

    def _verify_fingerprints(self) -> Iterator[Finding]:
        """Check that what explains a fingerprint is canonical and named by its digest."""
        folder = self._dataset.root / "_meta" / FINGERPRINTS
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if fault := note_fault(self._dataset, path.stem, path.read_bytes()):
                yield self._finding("fingerprint_damaged", path, fault, _NOTE)

    def _verify_view(self, partition: str) -> Iterator[Finding]:
        """Check that the view shows the head's files, all of them, and nothing else."""
        head = self._heads.get(partition)
        for role in ROLES:
            folder = view_folder(self._dataset, partition, role)
            wanted = {file.name: file for file in _files(head) if file.role == role}
            there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
            for name in sorted(wanted.keys() - there.keys()):
                yield self._finding("view_missing", folder / name, "the head has it, the view does not", HEAL)
            for name in sorted(there.keys() - wanted.keys()):
                yield self._finding("view_extra", folder / name, "the head does not have it", HEAL)
            for name in sorted(there.keys() & wanted.keys()):
                if not self._shows(there[name], wanted[name]):
                    yield self._finding("view_stale", folder / name, "it has other bytes than the head's", HEAL)

    def _shows(self, path: StorePath, file: FileEntry) -> bool:
        target = self._dataset.object(file.sha256)
        if not isinstance(path, RemotePath) and path.is_file() and target.is_file() and path.samefile(target):
            return True
        return path.is_file() and path.stat().st_size == file.nbytes and sha256_file(path) == file.sha256

    def _verify_tables(self) -> Iterator[Finding]:
        """Check the number of rows of spine, assets and quarantine, and the card of the spine."""
        if self._dataset.name == CLIPS and self._heads:
            yield from self._verify_card({README_NAME: render_spine_card(self._dataset)})
        if self._dataset.name == SIGNALS and self._heads:
            yield from self._verify_card({README_NAME: render_signals_card(self._dataset)})
        if self._dataset.name == BANKS and (self._dataset.root / README_NAME).is_file():  # banks of before have none
            yield from self._verify_card({README_NAME: render_banks_card(self._dataset)})
        for head in self._heads.values():
            for shard in head.shards:
                for file in shard.files:
                    path = self._dataset.object(file.sha256)
                    rows = _num_rows(path) if file.sha256 in self._whole else shard.samples
                    if rows != shard.samples:
                        detail = f"it has {rows} rows, its manifest says {shard.samples}"
                        yield self._finding("table_damaged", path, detail, RESTORE)
            if self._dataset.name == CLIPS:
                try:
                    spine_keys(self._dataset, head)
                except StoreError as error:
                    yield self._finding("table_damaged", self._dataset.meta(head.partition), str(error), RESTORE)

    def _verify_card(self, card: Mapping[str, bytes]) -> Iterator[Finding]:
        """Check that the generated files are what they would be now."""
        for name, data in card.items():
            path = self._dataset.root / name
            if not path.is_file() or path.read_bytes() != data:
                yield self._finding("card_stale", path, "it is not what schema and manifests say", HEAL)

    def _verify_feature(self) -> Iterator[Finding]:
        """Check schema, card, and every shard against its index and the spine."""
        if not self._is_begun() and not (self._dataset.root / SCHEMA_NAME).is_file():
            return  # the folder of a first extraction, which freezes the schema next
        try:
            schema = read_schema(self._dataset)
        except StoreError as error:
            yield self._finding("schema_damaged", self._dataset.root / SCHEMA_NAME, str(error), RESTORE)
            return
        try:
            card = render_card(self._dataset, schema, read_heads(self._dataset))
        except (StoreError, ConfigError):
            card = {}  # a damaged manifest is a finding of its own
        there = {name: data for name, data in card.items() if (self._dataset.root / name).is_file()}
        yield from self._verify_card(card if self._is_begun() else there)  # the first commit writes the card
        spine = self._layout.dataset(self._dataset.corpus, CLIPS)
        for head in self._heads.values():
            for code, path, detail in verify_shards(self._dataset, spine, schema, head, self._whole):
                yield self._finding(code, path, detail, _WAYS_OUT.get(code, REMAKE))
            if lost := sum(shard.statistics.num_nan for shard in head.shards):
                path = self._dataset.meta(head.partition) / manifest_name(head.revision)
                yield self._finding("values_nan", path, f"{lost} values hold not-a-number", _WAIT)

    def _is_begun(self) -> bool:
        """Say whether there is a first commit."""
        return bool(self._heads or self._unreadable)

    def _finding(self, code: str, path: StorePath, detail: str, way_out: str) -> Finding:
        return Finding.at(self._layout.root, path, code, detail, way_out)


def _verify_format(layout: StoreLayout) -> Iterator[Finding]:
    path = layout.format_file
    said = path.read_bytes() if path.is_file() else b""
    older = [version for version in range(FIRST_VERSION, FORMAT_VERSION) if said == format_bytes(version)]
    if older:
        detail = f"layout version {older[0]}: readable as it is, and written again after `mmpipe migrate`"
        yield Finding.at(layout.root, path, "layout_older", detail, _MIGRATE, Severity.WARNING)
    elif said != format_bytes():
        detail = f"it does not say format {FORMAT_VERSION}" if said else "it is gone"
        yield Finding.at(layout.root, path, "format_damaged", detail, _FORMAT)


def _verify_snapshots(layout: StoreLayout) -> Iterator[Finding]:
    """Check every kept snapshot, and the names of snapshots."""
    for path in sorted(path for path in layout.snapshots.glob("*") if path.name != NAMES_FOLDER):
        if fault := snapshot_fault(layout, path):
            yield Finding.at(layout.root, path, "snapshot_damaged", fault, RESTORE)
    for path, fault in find_name_faults(layout):
        yield Finding.at(layout.root, path, "snapshot_name_damaged", fault, RESTORE)


def snapshot_fault(layout: StoreLayout, path: StorePath) -> str:
    """Say what is wrong with a kept snapshot, "" where it is whole and what it pins is there."""
    try:
        snapshot = load_snapshot(layout, path.stem)
        for entry in snapshot.entries:
            dataset = layout.dataset(snapshot.corpus, entry.dataset)
            for file in _files(pinned_manifest(dataset, entry)):
                if not dataset.object(file.sha256).is_file():
                    return f"{file.name} of {entry.dataset} {entry.partition} is gone: {file.sha256}"
    except (StoreError, ConfigError) as error:
        return str(error)
    return ""


def _files(manifest: Manifest | None) -> list[FileEntry]:
    return [file for shard in manifest.shards for file in shard.files] if manifest else []


def _num_rows(path: StorePath) -> int:
    try:
        return int(pq.read_metadata(local_file(path)).num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return -1


def chosen_corpora(layout: StoreLayout, corpus: str | None) -> list[str]:
    """Return the one corpus asked for, or every folder that holds datasets."""
    known = sorted({path.parent.parent.name for path in layout.root.glob("*/*/_meta")})
    if corpus is not None and corpus not in known:
        raise ConfigError(f"no corpus {corpus!r} in the store {layout.root}; known are: {known}")
    return known if corpus is None else [corpus]
