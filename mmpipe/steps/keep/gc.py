"""Collect garbage: bytes that nothing rests on any more and that are old enough to be nobody's work in progress.

Manifests stay, always: the history of a store is kept, only bytes go. Age is told by the file system's own clock.
What is younger than the oldest living lease is somebody's work and stays, however few days are asked for.
An object leaves its name before its bytes go, and comes back if it was put again in that moment (`put_object` makes
it young); a killed collection is finished by the next one. In an object store it goes by a delete on the condition
that nobody made it young since it was seen (`steps.gc_bucket`).
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.io import (
    YOUNG_S,
    StorePath,
    make_directory,
    make_durable_directory,
    put_if_absent,
    remove_file,
    write_durable,
)
from mmpipe.remote import RemotePath, require_conditional_delete, store_now
from mmpipe.steps.ground.mirror import spare_mirrors
from mmpipe.steps.ground.retention import (
    held_objects,
    newest_change,
    spare_checkpoints,
    spare_indexes,
    spare_snapshots,
)
from mmpipe.steps.ground.watching import watch_stage
from mmpipe.steps.keep.abandoned import spare_receipts
from mmpipe.steps.keep.garbage import Collection, Garbage
from mmpipe.steps.keep.gc_bucket import Stamped, find_far, remove_far
from mmpipe.store.audit import append_event
from mmpipe.store.layout import StoreLayout, open_store, require_current
from mmpipe.store.lease import Lease, find_holder
from mmpipe.types import digest_of
from mmpipe.watch.stage import Stage

LEASE = "gc"
CLOCK_MARGIN_S = 3600.0  # a lease says since when by the clock of its holder's machine
_DAY_S = 86_400.0
_ASIDE = "gc"
_NO_LEFTOVER = ("receipts", _ASIDE)

Clock = Callable[[StoreLayout], float]


def file_system_time(layout: StoreLayout) -> float:
    """Return the time by the clock that stamps the store's files; of two, as in an object store, the slower one."""
    if isinstance(layout.root, RemotePath):
        return min(store_now(RemotePath(layout.format_file)), time.time())
    probe = make_directory(layout.staging) / f".probe-{uuid.uuid4().hex}"
    try:
        write_durable(probe, b"")
        return float(probe.stat().st_mtime)
    finally:
        remove_file(probe)


def collect_garbage(
    config: Config,
    corpus: str | None = None,
    days: float | None = None,
    delete: bool = False,
    clock: Clock = file_system_time,
) -> Collection:
    """Find what nothing rests on, and with `delete` remove it; with a corpus, only that one's objects are looked at.

    Whatever cannot be read stops it before anything is removed. TransientError: another collection is at work.
    ConfigError: an object store that deletes whatever the condition says.
    """
    layout = open_store(config.store)
    if corpus is not None and corpus not in layout.corpora():
        raise ConfigError(f"no corpus {corpus!r} in the store {layout.root}; known are: {list(layout.corpora())}")
    days = config.retention.days if days is None else days
    if not delete:
        items = _find(config, layout, corpus, _cutoff(layout, days, clock))
        return Collection(items=tuple(items), days=days, deleted=False)
    with watch_stage(config, Stage.GC, corpus=corpus or "") as stage:
        gone = _collect(config, layout, corpus, days, clock)
        stage.count(things=len(gone), bytes=sum(item.nbytes for item in gone))
    return Collection(items=gone, days=days, deleted=True)


def _collect(config: Config, layout: StoreLayout, corpus: str | None, days: float, clock: Clock) -> tuple[Garbage, ...]:
    require_current(layout)
    if isinstance(layout.root, RemotePath):
        require_conditional_delete(layout.root)
    with Lease.acquire(layout, LEASE):
        cutoff_s = _cutoff(layout, days, clock)
        _bring_back(config, layout, cutoff_s)
        items = _find(config, layout, corpus, cutoff_s)
        if items:
            _note(layout, corpus, days, tuple(items))
        return tuple(item for item, stamp in items.items() if _remove(layout, item, stamp, cutoff_s))


def _cutoff(layout: StoreLayout, days: float, clock: Clock) -> float:
    """Return the time before which a thing must have been touched last to go."""
    starts = [_started(path) for path in _leases(layout) if path.stem != LEASE and find_holder(layout, path.stem)]
    margin_s = CLOCK_MARGIN_S if isinstance(layout.root, RemotePath) else YOUNG_S
    age_s = max(days * _DAY_S, margin_s)  # a writer that begins now leaves what is young as it is (`keep_young`)
    return min([clock(layout) - age_s, *(start - CLOCK_MARGIN_S for start in starts)])


def _find(config: Config, layout: StoreLayout, corpus: str | None, cutoff_s: float) -> Stamped:
    """Return what is garbage; in an object store each thing with the stamp under which it was seen."""
    spare = spare_snapshots(layout, cutoff_s) if corpus is None else ()
    held = held_objects(layout, config.retention.revisions, cutoff_s, frozenset(path.stem for path in spare))
    found: list[Garbage] = []
    far: Stamped = {}
    if isinstance(layout.root, RemotePath):
        far = find_far(layout, corpus, held, spare, cutoff_s)
    else:
        found += [_garbage(layout, "snapshot", path) for path in spare]
        found += _unheld(layout, corpus, held, cutoff_s)
    if corpus is None:
        found += _leftovers(layout, cutoff_s)
        found += [_garbage(layout, "mirror", path) for path in spare_mirrors(config, layout, cutoff_s)]
        found += [_garbage(layout, "receipt", path) for path in spare_receipts(config, layout, cutoff_s)]
        if not isinstance(layout.root, RemotePath):
            found += [_garbage(layout, "lease", path) for path in _dead_leases(layout)]
        found += [_garbage(layout, "checkpoint", path) for path in spare_checkpoints(layout, cutoff_s)]
        found += [_garbage(layout, "index", path) for path in spare_indexes(layout, cutoff_s)]
    return far | dict.fromkeys(found, "")


def _unheld(layout: StoreLayout, corpus: str | None, held: set[str], cutoff_s: float) -> Iterator[Garbage]:
    """Yield the objects that nothing names, also of datasets that were never committed."""
    for path in sorted(layout.root.glob(f"{corpus or '*'}/*/objects/*/*")):
        if path.name not in held and path.stat().st_mtime < cutoff_s:
            yield _garbage(layout, "object", path)


def _leftovers(layout: StoreLayout, cutoff_s: float) -> Iterator[Garbage]:
    """Yield what killed processes and repairs left in the folder of unfinished work."""
    for path in sorted(layout.staging.iterdir()) if layout.staging.is_dir() else []:
        if path.name not in _NO_LEFTOVER and newest_change(path) < cutoff_s:
            yield _garbage(layout, "staging", path)


def _leases(layout: StoreLayout) -> list[StorePath]:
    return sorted(layout.leases.glob("*.json"))


def _dead_leases(layout: StoreLayout) -> list[StorePath]:
    return [path for path in _leases(layout) if not find_holder(layout, path.stem)]


def _started(path: StorePath) -> float:
    """Return since when a lease is held; 0 where it does not say, so that nothing is old enough."""
    try:
        record = json.loads(path.read_bytes())
        return datetime.fromisoformat(record.get("holder", record)["since"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _garbage(layout: StoreLayout, kind: str, path: StorePath) -> Garbage:
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    nbytes = sum(found.lstat().st_size for found in files)
    return Garbage(kind=kind, path=str(path.relative_to(_home(layout, kind))), nbytes=nbytes)


def _home(layout: StoreLayout, kind: str) -> StorePath:
    """Return where a kind of thing lies; a remote store's unfinished work lies on this machine."""
    return layout.local if kind in ("staging", "receipt", "checkpoint", "index", "mirror") else layout.root


# --------------------------------------------------------------------------- removing


def _note(layout: StoreLayout, corpus: str | None, days: float, items: tuple[Garbage, ...]) -> None:
    """Say in the audit log what goes, before it does: a killed collection is in it, too."""
    counts = {kind: sum(item.kind == kind for item in items) for kind in sorted({item.kind for item in items})}
    append_event(
        layout,
        "gc",
        corpus or "store",
        f"nothing rests on it, and it is older than {days:g} days",
        {"counts": counts, "bytes": sum(item.nbytes for item in items)},
        result=digest_of(*(item.path for item in items)),
    )


def _remove(layout: StoreLayout, item: Garbage, stamp: str, cutoff_s: float) -> bool:
    """Remove one thing; return False where somebody wanted it in the meantime."""
    path = _home(layout, item.kind) / item.path
    if isinstance(path, RemotePath):
        return remove_far(layout, item, stamp)
    if item.kind in ("object", "snapshot"):
        return _remove_committed(layout, path, cutoff_s)
    if item.kind == "lease":
        return _remove_lease(layout, path)
    if newest_change(path) >= cutoff_s:
        return False
    if item.kind in ("checkpoint", "index"):
        away = make_directory(layout.staging) / f"{item.kind}-{uuid.uuid4().hex}"
        path.rename(away)  # at once: half a checkpoint would be taken for one that goes on
        path = away
    if path.is_dir():
        shutil.rmtree(path)
    else:
        remove_file(path)
    return True


def _remove_committed(layout: StoreLayout, path: StorePath, cutoff_s: float) -> bool:
    """Take a file's name away, and its bytes if nobody made it young just before."""
    aside = layout.staging / _ASIDE / path.relative_to(layout.root)
    make_durable_directory(aside.parent)
    try:
        put_if_absent(path, aside)
    except FileNotFoundError:
        return False
    remove_file(path)
    kept = aside.stat().st_mtime >= cutoff_s
    if kept:
        put_if_absent(aside, path)
    remove_file(aside)
    return not kept


def _bring_back(config: Config, layout: StoreLayout, cutoff_s: float) -> None:
    """Finish what a killed collection had aside: back to its name if it is young or something rests on it."""
    folder = layout.staging / _ASIDE
    waiting = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    held = held_objects(layout, config.retention.revisions, cutoff_s, frozenset()) if waiting else set()
    for aside in waiting:
        if aside.stat().st_mtime >= cutoff_s or aside.name in held:
            put_if_absent(aside, layout.root / aside.relative_to(folder))
        remove_file(aside)
    if folder.is_dir():
        shutil.rmtree(folder)


def _remove_lease(layout: StoreLayout, path: StorePath) -> bool:
    """Take a dead lease over and give it back: nobody loses a race against this."""
    try:
        Lease.acquire(layout, path.stem).release()
    except (TransientError, ValueError):
        return False
    return True
