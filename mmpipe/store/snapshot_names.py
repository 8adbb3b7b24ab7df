"""Names that people give to snapshots: put-if-absent records, each of one digest; dropping one leaves the snapshot.

STORE/snapshots/names/NAME.json
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import asdict, dataclass

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import StorePath, canonical_json, make_durable_directory, put_if_absent, remove_file, write_durable
from mmpipe.store.layout import StoreLayout

HEAD = "head"  # what the store holds now, where two states are compared
NAMES_FOLDER = "names"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{24,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotName:
    """What a name stands for, and who gave it."""

    name: str
    snapshot: str  # the digest that names it
    corpus: str
    features: tuple[str, ...]
    reason: str
    created_at: str  # UTC
    created_by: str  # user@host
    format: int = 1

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; `checksum` is over the rest."""
        table = asdict(self)
        return canonical_json({**table, "checksum": hashlib.sha256(canonical_json(table)).hexdigest()})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> SnapshotName:
        """Read canonical JSON; raise StoreError on anything else."""
        try:
            table = json.loads(data)
            del table["checksum"]
            record = cls(**{**table, "features": tuple(table["features"])})
            if record.to_bytes() != data:
                raise ValueError("it is not what was written")
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{where}, the name of a snapshot, is damaged: {error}. The audit log says what it stood for: "
                "remove the file, and name the digest again with `mmpipe snapshot create`."
            ) from error
        return record


def put_name(layout: StoreLayout, record: SnapshotName) -> bool:
    """Give a name durably; return False where it already stands for that snapshot, refuse another one's name."""
    target = name_path(layout, record.name)
    temporary = layout.staging / f"name-{uuid.uuid4().hex}.json"
    make_durable_directory(layout.staging)
    make_durable_directory(target.parent)
    try:
        write_durable(temporary, record.to_bytes())
        if put_if_absent(temporary, target):
            return True
    finally:
        remove_file(temporary)
    there = read_name(layout, record.name)
    if there.snapshot != record.snapshot:
        raise ConfigError(
            f"the name {record.name!r} stands for snapshot {there.snapshot} since {there.created_at}; a name never "
            f"moves. Choose another, or drop it first: mmpipe snapshot drop {record.name} --reason TEXT"
        )
    return False


def read_name(layout: StoreLayout, name: str) -> SnapshotName:
    """Return what a name stands for."""
    path = name_path(layout, name)
    try:
        record = SnapshotName.from_bytes(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        known = [record.name for record in list_names(layout)]
        raise ConfigError(f"no snapshot is named {name!r}; names here: {known}. See: mmpipe snapshot ls") from error
    if record.name != name:
        raise StoreError(f"{path} speaks of another name, {record.name!r}. Restore it from a copy of the store.")
    return record


def list_names(layout: StoreLayout) -> tuple[SnapshotName, ...]:
    """Return every name, sorted."""
    paths = sorted(_folder(layout).glob("*.json"))
    return tuple(SnapshotName.from_bytes(path.read_bytes(), str(path)) for path in paths)


def remove_name(layout: StoreLayout, name: str) -> SnapshotName:
    """Take a name away and return what it stood for; the snapshot stays."""
    record = read_name(layout, name)
    remove_file(name_path(layout, name))
    return record


def resolve_snapshot(layout: StoreLayout, reference: str) -> str:
    """Return the digest that a name or a digest means."""
    if is_digest(reference):
        return reference
    return read_name(layout, reference).snapshot


def is_digest(reference: str) -> bool:
    """Say whether this is a snapshot's own digest and no name."""
    return bool(_DIGEST.fullmatch(reference))


def name_path(layout: StoreLayout, name: str) -> StorePath:
    """Return where a name is kept; refuse what can be no name."""
    if not _NAME.fullmatch(name) or is_digest(name) or name == HEAD:
        raise ConfigError(
            f"a snapshot is named by up to 63 of a-z, 0-9, '.', '_' and '-' (not {HEAD!r}), or by the 24 hex digits "
            f"of its digest; got {name!r}"
        )
    return _folder(layout) / f"{name}.json"


def _folder(layout: StoreLayout) -> StorePath:
    return layout.snapshots / NAMES_FOLDER
