"""Garbage in an object store: what it is by a listing, and its removal on the condition that nobody wanted it since.

Each thing is remembered with the stamp that the listing gave it. A writer that meets an old object makes it young,
which gives it another stamp, before it looks whether it is whole; so either the writer's look finds nothing and it
puts the object anew, or the delete is refused. A delete is one request: a killed collection has removed some of
what it noted, and the next one removes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmpipe.cache import drop_copy
from mmpipe.faults import fail_if_asked
from mmpipe.io import StorePath
from mmpipe.remote import RemotePath, Upload, abort_upload, list_uploads, remove_unchanged
from mmpipe.steps.keep.garbage import Garbage
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import find_holder

_UPLOAD = "upload"

Stamped = dict[Garbage, str]


def find_far(
    layout: StoreLayout, corpus: str | None, held: set[str], spare: Iterable[StorePath], cutoff_s: float
) -> Stamped:
    """Return what is garbage in the bucket, each thing with the stamp under which it was seen."""
    found = dict(_snapshots(layout, spare)) | dict(_objects(layout, corpus, held, cutoff_s))
    if corpus is None:
        found |= dict(_leases(layout, cutoff_s)) | dict(_probes(layout, cutoff_s)) | dict(_uploads(layout, cutoff_s))
    return found


def remove_far(layout: StoreLayout, item: Garbage, stamp: str) -> bool:
    """Remove one thing; return False where somebody wanted it in the meantime."""
    path = layout.root / item.path
    assert isinstance(path, RemotePath)
    fail_if_asked("unlink", path)
    if item.kind == _UPLOAD:
        abort_upload(Upload(path=path, identity=stamp, started_s=0.0))
        return True
    drop_copy(path)
    return remove_unchanged(path, stamp)


def _snapshots(layout: StoreLayout, spare: Iterable[StorePath]) -> Iterator[tuple[Garbage, str]]:
    for path in spare:
        yield from _listed(layout, path.parent, "snapshot", {path.name})


def _objects(layout: StoreLayout, corpus: str | None, held: set[str], cutoff_s: float) -> Iterator[tuple[Garbage, str]]:
    """Yield the objects that nothing names, also of datasets that were never committed."""
    for folder in layout.root.glob(f"{corpus or '*'}/*/objects/*"):
        for garbage, stamp in _listed(layout, folder, "object", None, cutoff_s):
            if garbage.path.rpartition("/")[2] not in held:
                yield garbage, stamp


def _leases(layout: StoreLayout, cutoff_s: float) -> Iterator[tuple[Garbage, str]]:
    """Yield records of nobody, or of the dead; a lease that is given back leaves one."""
    for garbage, stamp in _listed(layout, layout.leases, "lease", None, cutoff_s):
        name = garbage.path.rpartition("/")[2]
        if name.startswith(".clock-") or (name.endswith(".json") and not find_holder(layout, name[: -len(".json")])):
            yield garbage, stamp


def _probes(layout: StoreLayout, cutoff_s: float) -> Iterator[tuple[Garbage, str]]:
    """Yield what a killed test of the store's conditions has left."""
    for garbage, stamp in _listed(layout, layout.root, "probe", None, cutoff_s):
        if garbage.path.startswith(".probe-"):
            yield garbage, stamp


def _uploads(layout: StoreLayout, cutoff_s: float) -> Iterator[tuple[Garbage, str]]:
    assert isinstance(layout.root, RemotePath)
    for upload in list_uploads(layout.root):
        if upload.started_s < cutoff_s:
            path = str(upload.path.relative_to(layout.root))
            yield Garbage(kind=_UPLOAD, path=path, nbytes=0), upload.identity


def _listed(
    layout: StoreLayout, folder: StorePath, kind: str, names: set[str] | None, cutoff_s: float = float("inf")
) -> Iterator[tuple[Garbage, str]]:
    """Yield the old objects directly in a folder, by one listing."""
    assert isinstance(folder, RemotePath)
    for name, stat in folder.files():
        if stat.st_mtime < cutoff_s and (names is None or name in names):
            path = str((folder / name).relative_to(layout.root))
            yield Garbage(kind=kind, path=path, nbytes=stat.st_size), stat.stamp
