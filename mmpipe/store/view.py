"""The view for other tools: plain folders that show the files of the head, and nothing else."""

from __future__ import annotations

from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import list_names, make_directory, make_durable_directory, remove_file, replace_with_link, sync_directory
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import ROLES, Manifest
from mmpipe.store.objects import has_object
from mmpipe.store.revisions import list_revisions, read_head


def heal_view(dataset: DatasetLayout, partition: str) -> bool:
    """Make `data/` and `index/` show exactly the files of the head; return whether anything had to change.

    Somebody may commit while this works, and may have healed already: so look at the head again afterwards.
    """
    changed = False
    while (head := read_head(dataset, partition)) is not None:
        for role in ROLES:
            changed |= _show_role(dataset, head, role)
        if list_revisions(dataset, partition)[-1] == head.revision:
            break
    return changed


def view_folder(dataset: DatasetLayout, partition: str, role: str) -> Path:
    """Return the folder that shows the files of a role."""
    return dataset.data(partition) if role == "data" else dataset.index(partition)


def _show_role(dataset: DatasetLayout, head: Manifest, role: str) -> bool:
    folder = view_folder(dataset, head.partition, role)
    wanted = {entry.name: entry for shard in head.shards for entry in shard.files if entry.role == role}
    if not wanted and not folder.is_dir():
        return False
    make_durable_directory(folder)
    staging = make_directory(dataset.staging)
    changed = False
    for name in sorted(wanted):
        if not has_object(dataset, wanted[name]):
            raise StoreError(f"{dataset.object(wanted[name].sha256)}, shown as {folder / name}, is missing or cut.")
        changed |= replace_with_link(dataset.object(wanted[name].sha256), folder / name, staging)
    changed |= _remove_others(folder, set(wanted))
    if changed:
        sync_directory(folder)
    return changed


def _remove_others(folder: Path, wanted: set[str]) -> bool:
    """Remove stale shards and what a killed tool left: one unexpected name breaks the readers of a folder."""
    others = sorted(set(list_names(folder, folders=False)) - wanted)
    for name in others:
        remove_file(folder / name)
    return bool(others)
