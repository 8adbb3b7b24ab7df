"""What the store must not lose: what heads, recent revisions, snapshots, releases and receipts rest on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from mmpipe.errors import StoreError
from mmpipe.io import StorePath
from mmpipe.registry.versions import list_models, list_versions
from mmpipe.search.index import list_indexes
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.lease import find_holder
from mmpipe.store.manifest import Manifest
from mmpipe.store.receipt import noted_objects
from mmpipe.store.redaction import redact_manifest
from mmpipe.store.revisions import list_revisions, manifest_name, read_manifest
from mmpipe.store.snapshot import list_snapshots, pinned_manifest, read_snapshot, snapshot_path
from mmpipe.store.snapshot_names import list_names

CHECKPOINT_NAME = "checkpoint.json"  # what `steps.train` writes last; that module loads more than a reader has


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a published version says it was made from."""

    model: str
    version: str
    checkpoint: str
    snapshot: str


def snapshot_holders(layout: StoreLayout) -> dict[str, tuple[str, ...]]:
    """Return, for each snapshot that something rests on, the checkpoints and releases that do."""
    holders: dict[str, list[str]] = {}
    for name, digest in checkpoint_snapshots(layout):
        holders.setdefault(digest, []).append(f"checkpoint {name}")
    for release in list_releases(layout):
        holders.setdefault(release.snapshot, []).append(f"release {release.model}@{release.version}")
    return {digest: tuple(found) for digest, found in holders.items()}


def checkpoint_snapshots(layout: StoreLayout) -> Iterator[tuple[str, str]]:
    """Yield (checkpoint, snapshot) for every finished training."""
    for path in sorted(layout.checkpoints.glob(f"*/{CHECKPOINT_NAME}")):
        yield path.parent.name, str(_read(path)["snapshot"])


def list_releases(layout: StoreLayout) -> tuple[Release, ...]:
    """Return the origin of every published version, refused ones too; a damaged one is an error, never skipped."""
    found = []
    for model in list_models(layout.models):
        for version in list_versions(layout.models, model):
            lineage = json.loads(version.read("lineage.json"))
            found.append(
                Release(
                    model=model,
                    version=version.label,
                    checkpoint=str(lineage.get("checkpoint", "")),
                    snapshot=str(lineage.get("snapshot", "")),
                )
            )
    return tuple(found)


def spare_snapshots(layout: StoreLayout, cutoff_s: float) -> tuple[StorePath, ...]:
    """Return the snapshots that have no name, that nothing rests on, and that are older than the cutoff."""
    held = {record.snapshot for record in list_names(layout)} | snapshot_holders(layout).keys()
    paths = [snapshot_path(layout, digest) for digest in list_snapshots(layout) if digest not in held]
    return tuple(path for path in paths if path.stat().st_mtime < cutoff_s)


def spare_checkpoints(layout: StoreLayout, cutoff_s: float) -> tuple[StorePath, ...]:
    """Return the trainings that no release names, that are not their model's newest, and that nobody works on."""
    folders = [path for path in sorted(layout.checkpoints.glob("*")) if path.is_dir()]
    released = {release.checkpoint for release in list_releases(layout)}
    ages = {folder: newest_change(folder) for folder in folders}
    newest = {max(rest, key=ages.__getitem__) for rest in _by_model(folders)}
    newest |= {max(rest, key=ages.__getitem__) for rest in _by_model([f for f in folders if _is_finished(f)])}
    return tuple(
        folder
        for folder in folders
        if folder.name not in released
        and folder not in newest
        and ages[folder] < cutoff_s
        and not find_holder(layout, f"train-{folder.name}")
    )


def spare_indexes(layout: StoreLayout, cutoff_s: float) -> tuple[StorePath, ...]:
    """Return the indexes that no search has asked since the cutoff: the next one makes them again."""
    return tuple(path for path in list_indexes(layout.indexes) if newest_change(path) < cutoff_s)


def newest_change(path: StorePath) -> float:
    """Return when anything at or below a path was last written, linked or renamed; what is gone is young."""
    try:
        stats = [found.lstat() for found in (path, *path.rglob("*"))]
    except FileNotFoundError:
        return float("inf")
    return max(max(stat.st_mtime, stat.st_ctime) for stat in stats)


def held_objects(layout: StoreLayout, revisions: int, cutoff_s: float, spare: frozenset[str]) -> set[str]:
    """Return the digests of all objects that something rests on; `spare` are snapshots that go.

    A manifest or a snapshot that cannot be read is an error: what it names is not known, so nothing may go.
    """
    held = set(noted_objects(layout))  # before the heads: a receipt goes only after a head names its objects
    for corpus in layout.corpora():
        for name in layout.dataset_names(corpus):
            dataset = layout.dataset(corpus, name)
            for partition in dataset.partitions():
                kept = kept_revisions(dataset, partition, revisions, cutoff_s)
                for number in kept:
                    manifest = read_manifest(dataset, partition, number)
                    held |= _objects(redact_manifest(dataset, manifest))
                    if number == kept[-1]:  # readers of a head get all that it names until a forget commits it anew
                        held |= _objects(manifest)
    for digest in list_snapshots(layout):
        if digest not in spare:
            snapshot = read_snapshot(layout, digest)
            for entry in snapshot.entries:
                held |= _objects(pinned_manifest(layout.dataset(snapshot.corpus, entry.dataset), entry))
    return held


def kept_revisions(dataset: DatasetLayout, partition: str, revisions: int, cutoff_s: float) -> tuple[int, ...]:
    """Return the newest revisions, and those that were still the head after the cutoff."""
    numbers = list_revisions(dataset, partition)
    newest = set(numbers[-revisions:])
    folder = dataset.meta(partition)
    return tuple(
        number
        for number, follower in zip(numbers, [*numbers[1:], 0], strict=True)
        if number in newest or (folder / manifest_name(follower)).stat().st_mtime >= cutoff_s
    )


def _by_model(folders: list[StorePath]) -> list[list[StorePath]]:
    models = sorted({folder.name.rpartition("-")[0] for folder in folders})
    return [[folder for folder in folders if folder.name.rpartition("-")[0] == model] for model in models]


def _is_finished(folder: StorePath) -> bool:
    return (folder / CHECKPOINT_NAME).is_file()


def _objects(manifest: Manifest) -> set[str]:
    return {file.sha256 for shard in manifest.shards for file in shard.files}


def _read(path: StorePath) -> dict[str, object]:
    try:
        table: dict[str, object] = json.loads(path.read_bytes())
        table["snapshot"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Remove its folder; `mmpipe train` makes it again.") from error
    return table
