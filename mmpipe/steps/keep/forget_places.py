"""The places that hold something of what is forgotten, and what becomes of each: also of those that are not ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mmpipe.cache import decoded_file
from mmpipe.io import unescape_name
from mmpipe.registry.taint import read_checkpoint_taint, read_taint
from mmpipe.registry.versions import Version, list_models, list_versions, pick_version
from mmpipe.search.index import holds_any, list_indexes, list_unfinished
from mmpipe.steps.ground.mirror import mirrored_files
from mmpipe.steps.ground.scan import scan_path
from mmpipe.steps.keep.forget_models import checkpoint_changes, unfinished_trainings, version_changes
from mmpipe.steps.keep.forget_order import ForgetOrder
from mmpipe.steps.keep.forget_store import Holders, holds_traces
from mmpipe.store.commit import read_head, read_manifest
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout
from mmpipe.store.redaction import redact_manifest
from mmpipe.store.snapshot import Snapshot, list_snapshots, read_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A place that holds something of what is forgotten."""

    what: str  # "shard", "old objects", "snapshot", "checkpoint", "release", "weights", "report", "raw file", ...
    where: str
    fate: str  # what becomes of it


def list_places(layout: StoreLayout, order: ForgetOrder, holders: Holders, raw: Path | None) -> Iterator[Holding]:
    """Yield every place, before anything is done; `raw` is the corpus folder."""
    yield from _in_store(layout, order, holders)
    yield from _in_models(layout, order, holders)
    yield from _notes(layout, order, holders)
    yield from _in_pins(layout, order)
    yield from _in_mirror(layout, order)
    yield from _raw_files(order, raw)


def _in_store(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Holding]:
    for name, held in sorted(holders.items()):
        dataset = layout.dataset(order.corpus, name)
        named: set[str] = set()
        for partition in dataset.partitions():
            head = read_head(dataset, partition)
            for shard in head.shards if head else ():
                files = {file.sha256 for file in shard.files}
                named |= files
                if files & held:
                    yield Holding(what="shard", where=f"{name} dt={partition} shard {shard.number}", fate="made again")
        if old := held - named:
            yield Holding(what="old objects", where=f"{name}: {len(old)}", fate="deleted")
    for digest in _snapshots(layout, order, holders):
        yield Holding(what="snapshot", where=digest, fate="redacted")
    for page in list_reports(layout, order.corpus):
        yield Holding(what="report", where=page.name, fate="deleted")


def _in_models(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Holding]:
    for checkpoint in tainted_checkpoints(layout, order, holders):
        changes = sum(1 for _ in checkpoint_changes(checkpoint, order))
        fate = f"marked as tainted; its answers taken out of {changes} files"
        yield Holding(what="checkpoint", where=checkpoint.name, fate=fate)
    for training in unfinished_trainings(layout, order):
        yield Holding(what="unfinished training", where=training.name, fate="deleted")
    for version in tainted_versions(layout, order, holders):
        where, names = f"{version.name}@{version.label}", [name for name, _ in version_changes(version, order)]
        fate = f"marked as tainted; redacted: {', '.join(names) or 'no file names it'}"
        yield Holding(what="release", where=where, fate=fate)
        yield Holding(what="weights", where=where, fate="remain: they learnt from it. Train and release again")


def _notes(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Holding]:
    """Yield what is kept beside the truth: all of it can be made again, and goes."""
    if scan_path(layout, order.corpus).is_file():
        yield Holding(what="note", where=scan_path(layout, order.corpus).name, fate="its rows taken out")
    if read_made(layout, order.corpus):
        yield Holding(what="note", where="why shards were made (_runs/made)", fate="deleted")
    if indexes := indexes_of(layout, order):
        yield Holding(what="index", where=f"of searches: {len(indexes)}", fate="deleted; the next search makes it anew")
    if left := sum(is_left(path, order, holders) for path in layout.staging.glob("**/*")):
        yield Holding(what="unfinished work", where=f"_staging: {left} files", fate="deleted")
    if cached := sum(decoded_file(sha256).exists() for held in holders.values() for sha256 in held):
        yield Holding(what="cache", where=f"decoded numbers on this machine: {cached} files", fate="deleted")


def _in_pins(layout: StoreLayout, order: ForgetOrder) -> Iterator[Holding]:
    """Yield the pins of other teams' datasets that have a file named after it: the files are theirs."""
    stems = {PurePosixPath(name).name for name in order.source_ids}
    for path in sorted((layout.root / order.corpus).glob("*/external-*.json")):
        names = [str(file["name"]) for file in json.loads(path.read_bytes())["files"]]
        if any(PurePosixPath(name).stem in {*stems, *order.keys} for name in names):
            where = f"{path.parent.name}/{path.name}"
            yield Holding(what="pin", where=where, fate="stays: it names a file of another team, theirs to delete")


def _in_mirror(layout: StoreLayout, order: ForgetOrder) -> Iterator[Holding]:
    if mirrored := mirrored_files(layout, order.corpus, order.files):
        yield Holding(what="mirrored files", where=f"{len(mirrored)} of {order.corpus}", fate="deleted")
        yield Holding(what="source", where=f"of {order.corpus}", fate="not ours to change: remove it there too")


def _raw_files(order: ForgetOrder, raw: Path | None) -> Iterator[Holding]:
    """Yield what still lies in the corpus folder: its owner may delete it, we do not."""
    for name in order.files:
        path = raw / os.fsdecode(unescape_name(name)) if raw else None
        if path and path.is_file():
            yield Holding(what="raw file", where=str(path), fate="stays: not ours to delete, and not taken in again")


def _snapshots(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[str]:
    for digest in list_snapshots(layout):
        snapshot = read_snapshot(layout, digest)
        if snapshot.corpus == order.corpus and _pins(layout, snapshot, holders):
            yield digest


def _pins(layout: StoreLayout, snapshot: Snapshot, holders: Holders) -> bool:
    for entry in snapshot.entries:
        dataset = layout.dataset(snapshot.corpus, entry.dataset)
        manifest = read_manifest(dataset, entry.partition, entry.revision)
        held = holders.get(entry.dataset, frozenset())
        shards = (*manifest.shards, *redact_manifest(dataset, manifest).shards)  # as pinned, and as it stands now
        if any(file.sha256 in held for shard in shards for file in shard.files):
            return True
    return False


def tainted_versions(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Version]:
    """Yield the releases that rest on it, and those that a run that was cut short has marked."""
    for model in list_models(layout.models):
        for version in list_versions(layout.models, model):
            lineage = json.loads(version.read("lineage.json"))
            taint = read_taint(layout.models, model, version.label)
            marked = taint and set(taint.assets) & set(order.subjects)  # by a run that was cut short
            is_ours = lineage.get("corpus") == order.corpus
            rests = is_ours and (marked or _rests_on(lineage, order, holders))
            if rests or _begun_from_it(layout, lineage.get("finetuned", {}), order, holders):
                yield version


def _rests_on(lineage: dict[str, Any], order: ForgetOrder, holders: Holders) -> bool:
    files = set(order.file_digests)
    if any(file.get("sha256") in files or file.get("name") in order.files for file in lineage.get("raw_files", ())):
        return True
    return any(
        shard["sha256"] in holders.get(shard["dataset"], frozenset()) and shard["dataset"] in holders
        for shard in lineage.get("shards", ())
    )


def _begun_from_it(layout: StoreLayout, begun: dict[str, Any], order: ForgetOrder, holders: Holders) -> bool:
    """Say whether weights go on, one release after another, from some that learnt from it."""
    if "release" not in begun:
        return False
    name, _, label = str(begun["release"]).partition("@")
    taint = read_taint(layout.models, name, label)
    if taint and set(taint.assets) & set(order.subjects):
        return True
    lineage = json.loads(pick_version(layout.models, name, label).read("lineage.json"))
    if lineage.get("corpus") == order.corpus and _rests_on(lineage, order, holders):
        return True
    return _begun_from_it(layout, lineage.get("finetuned", {}), order, holders)


def tainted_checkpoints(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Path]:
    """Yield the trainings whose snapshot pins it, and those of this corpus that no kept snapshot speaks for."""
    kept = set(list_snapshots(layout))
    for path in sorted(layout.checkpoints.glob("*/checkpoint.json")):
        table = json.loads(path.read_bytes())
        if _begun_from_it(layout, table.get("finetuned", {}), order, holders):
            yield path.parent
            continue
        if table.get("corpus") != order.corpus:
            continue
        digest, taint = str(table.get("snapshot", "")), read_checkpoint_taint(path.parent)
        marked = taint and set(taint.assets) & set(order.subjects)  # by a run that was cut short
        if marked or digest not in kept or _pins(layout, read_snapshot(layout, digest), holders):
            yield path.parent


def list_reports(layout: StoreLayout, corpus: str) -> list[Path]:
    """Return the pages about a corpus, which may show it."""
    kinds = ("????-??-??*", "dataset-*", "release-*")
    return sorted(page for kind in kinds for page in layout.reports.glob(f"{corpus}-{kind}.html"))


def indexes_of(layout: StoreLayout, order: ForgetOrder) -> list[Path]:
    """Return the indexes of searches that hold a clip of it."""
    keys = frozenset(order.keys)
    # Those under way first: one that is named between the two looks is then seen by the second.
    found = (*list_unfinished(layout.staging), *list_indexes(layout.indexes, order.corpus))
    return [path for path in found if holds_any(path, keys)]


def is_left(path: Path, order: ForgetOrder, holders: Holders) -> bool:
    """Say whether a file of unfinished work speaks of it."""
    of_object = any(path.name.partition(".")[0] in held for held in holders.values())
    return path.is_file() and (of_object or holds_traces(path, order))
