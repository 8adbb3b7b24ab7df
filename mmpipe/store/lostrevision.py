"""Find committed revisions whose manifests are gone from the end of a chain: what followed them still speaks of them.

A manifest is durable before a view, a card or a snapshot follows it, so these never speak of a revision that was not
committed, wherever a writer is killed. They are looked at first and the manifests afterwards: then a commit made in
between is no alarm. Receipts come before the manifest and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmpipe.errors import StoreError
from mmpipe.io import StorePath, sha256_file
from mmpipe.remote import RemotePath
from mmpipe.store.history import CHANGES_KEPT, PartitionHistory, history_of, read_kept
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import ROLES, FileEntry
from mmpipe.store.redaction import redact_manifest
from mmpipe.store.revisions import list_revisions, read_head, read_manifest
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import Snapshot, SnapshotEntry
from mmpipe.store.view import view_folder

Pins = Mapping[tuple[str, str, str], tuple[SnapshotEntry, ...]]  # by corpus, dataset, partition
Cards = Mapping[str, PartitionHistory]  # by partition


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRevisions:
    """The manifests that are gone after the newest one of a partition, and what shows that they were there."""

    numbers: tuple[int, ...]
    evidence: str
    shown: Mapping[StorePath, str] = field(default_factory=dict)  # files of the view that no revision names: sha256
    card: PartitionHistory | None = None  # what the card says of the newest of them
    pin: SnapshotEntry | None = None  # of the newest of them


def read_pins(layout: StoreLayout) -> Pins:
    """Return what the kept snapshots pin; one that is damaged pins nothing, and is a finding of its own."""
    found: dict[tuple[str, str, str], tuple[SnapshotEntry, ...]] = {}
    for path in sorted(layout.snapshots.glob("*.json")):
        try:
            snapshot = Snapshot.from_bytes(path.read_bytes())
        except (StoreError, OSError):
            continue
        for entry in snapshot.entries if snapshot.digest == path.stem else ():
            place = (snapshot.corpus, entry.dataset, entry.partition)
            found[place] = (*found.get(place, ()), entry)
    return found


def read_cards(dataset: DatasetLayout) -> Cards:
    """Return what the card of a feature says of each partition."""
    return {row.partition: row for row in read_kept(dataset)} if dataset.is_feature else {}


def find_lost(
    dataset: DatasetLayout, partition: str, pins: Pins, cards: Cards, suspects: Iterable[StorePath], seen: int = 0
) -> LostRevisions | None:
    """Return the revisions that are gone from the end of a partition's chain; None where none is.

    `suspects` are files of the view that the head does not explain; `seen` is a revision that is there.
    """
    pinned = pins.get((dataset.corpus, dataset.name, partition), ())
    objects = {path: sha256 for path in suspects if (sha256 := _object_shown(dataset, path))}
    card = cards.get(partition)
    if not objects and max([card.revision if card else 0, *(entry.revision for entry in pinned)]) <= seen:
        return None
    newest = max(list_revisions(dataset, partition), default=0)  # from here on, the manifests
    shown = _unnamed(dataset, partition, objects)
    said = {entry.revision: "a snapshot pins it" for entry in pinned if entry.revision > newest}
    if card and card.revision > newest and _follows(dataset, partition, newest, card):
        said.setdefault(card.revision, "the card tells of it")
    if shown:
        names = ", ".join(path.name for path in sorted(shown))
        said.setdefault(newest + 1, f"the view shows committed files that no revision names: {names}")
    if not said:
        return None
    last = max(said)
    return LostRevisions(
        numbers=tuple(range(newest + 1, last + 1)),
        evidence=said[last],
        shown=shown,
        card=card if card and card.revision == last else None,
        pin=next((entry for entry in pinned if entry.revision == last), None),
    )


def find_lost_again(
    layout: StoreLayout, dataset: DatasetLayout, partition: str, thorough: bool = True
) -> LostRevisions | None:
    """Look at everything that could speak of lost revisions of one partition.

    Without `thorough`, no file of an object store's view is read that has the name and size that the head says.
    """
    pins, cards = read_pins(layout), read_cards(dataset)
    return find_lost(dataset, partition, pins, cards, _find_suspects(dataset, partition, thorough))


def _find_suspects(dataset: DatasetLayout, partition: str, thorough: bool) -> list[StorePath]:
    """Return the files of a view that may show something else than the head's."""
    shown = shown_files(dataset, partition)
    try:
        head = read_head(dataset, partition)
    except StoreError:
        head = None
    named = {(file.role, file.name): file for shard in (head.shards if head else ()) for file in shard.files}
    return [path for path in shown if not _is_of_head(dataset, path, named, thorough)]


def _is_of_head(
    dataset: DatasetLayout, path: StorePath, named: Mapping[tuple[str, str], FileEntry], thorough: bool
) -> bool:
    file = named.get((path.parent.parent.name, path.name))
    if file is None:
        return False
    if isinstance(path, RemotePath):
        return not thorough and path.stat().st_size == file.nbytes
    target = dataset.object(file.sha256)
    return target.is_file() and path.samefile(target)


def shown_files(dataset: DatasetLayout, partition: str) -> list[StorePath]:
    """Return every file of a partition's view."""
    folders = [view_folder(dataset, partition, role) for role in ROLES]
    return sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())


def _object_shown(dataset: DatasetLayout, path: StorePath) -> str:
    """Return the digest of the committed object whose bytes a file has; "" where there is none."""
    sha256 = sha256_file(path) if path.is_file() else ""
    return sha256 if sha256 and dataset.object(sha256).is_file() else ""


def _unnamed(dataset: DatasetLayout, partition: str, objects: Mapping[StorePath, str]) -> dict[StorePath, str]:
    """Return the files of a view whose objects no revision names; none where a revision cannot be read."""
    named: set[str] = set()
    try:
        for number in list_revisions(dataset, partition) if objects else ():
            manifest = read_manifest(dataset, partition, number)
            for shard in (*manifest.shards, *redact_manifest(dataset, manifest).shards):
                named.update(file.sha256 for file in shard.files)
    except StoreError:
        return {}  # the view may show what that one names
    return {path: sha256 for path, sha256 in objects.items() if sha256 not in named}


def _follows(dataset: DatasetLayout, partition: str, newest: int, card: PartitionHistory) -> bool:
    """Say whether the changes that a card tells of go on from the newest manifest: a damaged card proves nothing."""
    if len(card.changes) != min(card.revision, CHANGES_KEPT):
        return False
    if newest == 0:
        return True
    try:
        before = history_of(dataset, read_schema(dataset), read_manifest(dataset, partition, newest)).changes
    except StoreError:
        return False
    kept = card.changes[card.revision - newest :]
    return kept == before[: len(kept)]
