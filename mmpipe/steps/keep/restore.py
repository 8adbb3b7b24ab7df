"""Bring damaged or missing committed files back from a copy of the store, each checked before it is put.

Bytes without a check of their own (the log of moves) must continue what the rest of this store says.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mmpipe.errors import MmpipeError, StoreError
from mmpipe.external.pin import PIN_NAME
from mmpipe.io import (
    StorePath,
    make_directory,
    make_durable_directory,
    remove_file,
    replace_durable,
    sha256_file,
    sync_directory,
    write_durable,
)
from mmpipe.registry.aliases import line_fault
from mmpipe.registry.redacted import parse_version_redaction, read_version_redaction, redaction_path
from mmpipe.registry.taint import read_taint
from mmpipe.remote import RemotePath
from mmpipe.steps.ground.seal import SUMS_NAME, read_sums
from mmpipe.steps.share.external_integrity import registered_pins, vouched_fault
from mmpipe.store.audit import AuditEvent
from mmpipe.store.finding import Finding, Severity
from mmpipe.store.identity import FINGERPRINTS
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.lostrevision import find_lost_again
from mmpipe.store.manifest import Manifest
from mmpipe.store.objects import OBJECT_MODE
from mmpipe.store.revisions import list_revisions, manifest_name, read_head, read_manifest
from mmpipe.store.schema import SCHEMA_NAME, schema_digest, schema_from_json
from mmpipe.store.snapshot import Snapshot
from mmpipe.store.snapshot_names import NAMES_FOLDER, SnapshotName
from mmpipe.store.verifynote import note_fault
from mmpipe.store.view import view_folder

BAD_BYTES = frozenset({"object_damaged", "object_size", "object_missing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a repair did, or would do."""

    action: str  # "restored", "set aside", "made", "healed", "removed", "left", "given up"
    path: str
    detail: str = ""


def restore_files(layout: StoreLayout, copy: StoreLayout, findings: Iterable[Finding], dry_run: bool) -> list[Step]:
    """Put what a copy has whole in place of what is damaged or missing here."""
    steps = []
    names = {name for finding in findings for name in _names(layout, copy, finding)}
    for name in sorted(names, key=_turn):
        source = copy.root / name
        if not source.is_file():
            continue
        data = source.read_bytes()
        place = _home(layout, name) / name
        if here(place) == data:
            continue
        if why := _doubt(layout, name, data):
            steps.append(Step(action="left", path=name, detail=f"the copy's is no better: {why}"))
            continue
        if not dry_run:
            set_aside(layout, place)
            _put(layout, place, data)
        steps.append(Step(action="restored", path=name, detail=f"from {copy.root}"))
    return steps


def _turn(name: str) -> tuple[bool, bool, str]:
    """Put sums before what they prove, and objects before the manifests that name them."""
    return not name.endswith(SUMS_NAME), "/_meta/" in name, name


def _home(layout: StoreLayout, name: str) -> StorePath:
    """Return where a path of a finding begins: checkpoints of a remote store lie on this machine."""
    return layout.local if name.startswith("checkpoints/") else layout.root


def restore_from_views(layout: StoreLayout, findings: Iterable[Finding], dry_run: bool) -> list[Step]:
    """Put back objects that a view still shows whole: in a copied store a view holds bytes of its own."""
    steps = []
    for finding in findings:
        if finding.code not in BAD_BYTES:
            continue
        corpus, dataset_name, *_, sha256 = finding.path.split("/")
        for path in _shown_as(layout.dataset(corpus, dataset_name), sha256):
            if not path.is_file() or sha256_file(path) != sha256:
                continue
            if not dry_run:
                data = path.read_bytes()
                set_aside(layout, layout.root / finding.path)
                _put(layout, layout.root / finding.path, data)
            steps.append(Step(action="restored", path=finding.path, detail=f"from {path.relative_to(layout.root)}"))
            break
    return steps


def _shown_as(dataset: DatasetLayout, sha256: str) -> Iterator[StorePath]:
    """Yield where the views show an object."""
    for partition in dataset.partitions():
        try:
            head = read_head(dataset, partition)
        except StoreError:
            continue
        for shard in head.shards if head else ():
            for file in shard.files:
                if file.sha256 == sha256:
                    yield view_folder(dataset, partition, file.role) / file.name


def set_aside(layout: StoreLayout, path: StorePath) -> None:
    """Move a file into `_staging/damaged/`, under its own path; nothing is ever deleted."""
    if not path.is_file():
        return
    home = layout.root if path.is_relative_to(layout.root) else layout.local
    target = layout.staging / "damaged" / path.relative_to(home)
    make_durable_directory(target.parent)
    if target.exists():
        target = target.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    write_durable(target, path.read_bytes())
    sync_directory(target.parent)
    remove_file(path)


def here(path: StorePath) -> bytes | None:
    """Return a file's bytes, None where there is none."""
    return path.read_bytes() if path.is_file() else None


def _names(layout: StoreLayout, copy: StoreLayout, finding: Finding) -> list[str]:
    """Return the paths that may lack: a damaged version of a model, or a snapshot, is named as a whole."""
    if finding.severity is not Severity.DAMAGE or finding.code.startswith(("view_", "card_", "format_")):
        return []  # made from the rest of the store, if anything
    if finding.code == "version_damaged":
        folder = copy.root / finding.path
        record = redaction_path(folder)
        files = [path for path in folder.rglob("*") if path.is_file()] + ([record] if record.is_file() else [])
        return [str(path.relative_to(copy.root)) for path in files]
    if finding.code == "manifest_missing":
        return _following(layout, copy, finding.path)
    if finding.code == "snapshot_damaged":
        return [finding.path, *_pinned(copy, finding.path)]
    return [finding.path]


def _following(layout: StoreLayout, copy: StoreLayout, name: str) -> list[str]:
    """Return a lost manifest of the copy and those after it, with their bytes, if they explain what the view shows."""
    corpus, dataset_name, _, folder, _ = name.split("/")
    partition = folder.removeprefix("dt=")
    mine, there = layout.dataset(corpus, dataset_name), copy.dataset(corpus, dataset_name)
    lost = find_lost_again(layout, mine, partition)
    found, named = [], set()
    try:
        for number in list_revisions(there, partition) if lost else ():
            if lost and number >= lost.numbers[0]:
                files = [file for shard in read_manifest(there, partition, number).shards for file in shard.files]
                named |= {file.sha256 for file in files}
                paths = [there.meta(partition) / manifest_name(number), *(there.object(file.sha256) for file in files)]
                found += [str(path.relative_to(copy.root)) for path in paths]
    except (MmpipeError, OSError):
        return [name]
    return found if lost and named.issuperset(lost.shown.values()) else []


def _pinned(copy: StoreLayout, name: str) -> list[str]:
    """Return the paths of what a snapshot of the copy pins."""
    try:
        snapshot = Snapshot.from_bytes((copy.root / name).read_bytes())
        found = []
        for entry in snapshot.entries:
            dataset = copy.dataset(snapshot.corpus, entry.dataset)
            path = dataset.meta(entry.partition) / manifest_name(entry.revision)
            manifest = Manifest.from_bytes(path.read_bytes(), str(path))
            files = [file for shard in manifest.shards for file in shard.files]
            found += [path, *(dataset.object(file.sha256) for file in files)]
        return [str(path.relative_to(copy.root)) for path in found]
    except (MmpipeError, OSError):
        return []


def _put(layout: StoreLayout, path: StorePath, data: bytes) -> None:
    make_durable_directory(path.parent)
    replace_durable(path, data, make_directory(layout.staging) / f"restore-{uuid.uuid4().hex}")
    if not isinstance(path, RemotePath) and {"objects", "_meta"} & set(path.relative_to(layout.local).parts):
        path.chmod(OBJECT_MODE)


def _doubt(layout: StoreLayout, name: str, data: bytes) -> str:
    """Say why bytes from a copy cannot be taken, "" where they are proven."""
    parts = name.split("/")
    try:
        if parts[:2] == ["snapshots", NAMES_FOLDER]:
            SnapshotName.from_bytes(data, name)
            return ""
        if parts[0] == "snapshots":
            return "" if Snapshot.from_bytes(data).digest == parts[1].removesuffix(".json") else "another digest"
        if parts[0] == "models":
            return _doubt_model(layout, parts, data)
        if parts[0] == "checkpoints":
            return _doubt_checkpoint(layout, parts, data)
        if parts[0] == "_audit":
            AuditEvent.from_bytes(data, name)
            return ""
        if len(parts) > 3:
            return _doubt_dataset(layout.dataset(parts[0], parts[1]), parts[2:], data)
        if match := PIN_NAME.fullmatch(parts[-1]):
            dataset, number = layout.dataset(parts[0], parts[1]), int(match[1])
            return vouched_fault(dataset, number, data, registered_pins(layout).get(f"{parts[0]}/{parts[1]}", {}))
        if parts[-1] == SCHEMA_NAME:
            return _doubt_schema(layout.dataset(parts[0], parts[1]), data)
    except (MmpipeError, ValueError, KeyError, TypeError, IndexError) as error:
        return str(error)
    return "it is made from the rest of the store: `mmpipe verify --repair` does that"


def _doubt_dataset(dataset: DatasetLayout, parts: list[str], data: bytes) -> str:
    if parts[0] == "objects":
        return "" if hashlib.sha256(data).hexdigest() == parts[-1] else "its sha256 is not its name"
    if parts[:2] == ["_meta", FINGERPRINTS]:
        return note_fault(dataset, parts[2].removesuffix(".json"), data)
    if parts[0] != "_meta":
        return "it is a view: `mmpipe verify --repair` makes it"
    manifest = Manifest.from_bytes(data)
    place = (manifest.corpus, manifest.dataset, f"dt={manifest.partition}", manifest_name(manifest.revision))
    if place != (dataset.corpus, dataset.name, parts[1], parts[2]):
        return f"it speaks of another place, {place}"
    child = here(dataset.meta(manifest.partition) / manifest_name(manifest.revision + 1))
    parent = here(dataset.meta(manifest.partition) / manifest_name(manifest.revision - 1))
    if (after := _whole(child)) and after.parent != manifest.digest():
        return "the revision after it was made from another one"
    if (before := _whole(parent)) and before.digest() != manifest.parent:
        return "it was not made from the revision before it"
    return ""


def _whole(data: bytes | None) -> Manifest | None:
    try:
        return Manifest.from_bytes(data) if data is not None else None
    except MmpipeError:
        return None  # damaged too: it is restored, and held against this one, in its turn


def _doubt_schema(dataset: DatasetLayout, data: bytes) -> str:
    schema = schema_from_json(json.loads(data))
    for partition in dataset.partitions():
        for path in sorted(dataset.meta(partition).glob("*.json"), reverse=True)[:1]:
            if Manifest.from_bytes(path.read_bytes()).schema != schema_digest(schema):
                return f"{partition} was made under another schema"
    return "" if schema.feature == dataset.name else f"it is of {schema.feature}"


def _doubt_model(layout: StoreLayout, parts: list[str], data: bytes) -> str:
    folder = layout.models / parts[1]
    if parts[2] == "versions":
        root = folder / "versions" / parts[3]
        if parts[4:] == [SUMS_NAME]:
            digest8 = parts[3].split("-")[1]
            redaction = read_version_redaction(root)
            if redaction or read_taint(layout.models, parts[1], parts[3]):  # what was published must not come back
                known = redaction and hashlib.sha256(data).hexdigest() in redaction.sums
                return "" if known else "something was forgotten out of this version since"
            return "" if hashlib.sha256(data).hexdigest()[:8] == digest8 else "its digest is not in the folder's name"
        return _doubt_sum(root, "/".join(parts[4:]), data)
    if parts[2] == "redacted":
        sums = folder / "versions" / parts[3].removesuffix(".json") / SUMS_NAME
        known = any(_has(sums, sha256) for sha256 in parse_version_redaction(data).sums)
        return "" if known else f"it is not about the {SUMS_NAME} that is here"
    if parts[2] == "events":  # of a bucket: a move each
        return line_fault(data.removesuffix(b"\n"), int(parts[3].removesuffix(".json")))
    lines = data.split(b"\n")[:-1] if parts[2] == "events.jsonl" else []
    if fault := next((fault for n, line in enumerate(lines, 1) if (fault := line_fault(line, n))), ""):
        return fault
    if parts[2] == "events.jsonl":
        aliases = here(folder / "aliases.json")
        wanted = json.loads(aliases)["revision"] if aliases else len(lines)
        return "" if len(lines) == wanted else f"it has {len(lines)} moves, the aliases are at {wanted}"
    log = here(folder / "events.jsonl") or b""
    moves = log.count(b"\n")
    return "" if json.loads(data)["revision"] == moves else f"the log has {moves} moves: it is older"


def _doubt_checkpoint(layout: StoreLayout, parts: list[str], data: bytes) -> str:
    folder = layout.checkpoints / parts[1]
    if parts[2:] == [SUMS_NAME]:
        lines = [line.partition("  ") for line in data.decode().splitlines()]
        others = [name for sha256, _, name in lines if not _has(folder / name, sha256)]
        return f"{others[0]} has another sum here" if others else ""
    return _doubt_sum(folder, "/".join(parts[2:]), data)


def _has(path: StorePath, sha256: str) -> bool:
    return path.is_file() and sha256_file(path) == sha256


def _doubt_sum(folder: StorePath, name: str, data: bytes) -> str:
    wanted = read_sums(folder).get(name)
    return "" if hashlib.sha256(data).hexdigest() == wanted else f"{SUMS_NAME} here says otherwise"
