"""Which version is in use: three names that move, and a log of every move.

`aliases.json` is the truth, replaced whole under the model's lock; `events.jsonl` only ever grows. The last move stands
in both, so a process that dies between the two writes loses nothing: the next one finishes its line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, GateRefused, StoreError, TransientError
from mmpipe.io import canonical_json, replace_bytes
from mmpipe.registry.versions import Version, lock_model, pick_version, require_model, verify_version

ALIASES = ("candidate", "production", "previous")
REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of the aliases; `revision` counts them from 1."""

    revision: int
    action: str  # "nominate", "promote", "rollback"
    version: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    who: str
    why: str
    forced: bool = False  # a refused version was promoted on somebody's word


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliases:
    """Where the names point: version labels, empty where nowhere."""

    candidate: str = ""
    production: str = ""
    previous: str = ""
    revision: int = 0
    last_move: Move | None = field(default=None, compare=False)

    @property
    def names(self) -> dict[str, str]:
        """Return alias -> version label."""
        return {name: getattr(self, name) for name in ALIASES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model and which version of it is meant: number, label or alias."""

    name: str
    ref: str


def parse_reference(text: str) -> Reference:
    """Read `NAME@REF`; without `@REF` the one in production is meant."""
    name, at, ref = text.partition("@")
    if not name or (at and not ref) or "@" in ref:
        raise ConfigError(f"{text!r} names no model: write NAME, NAME@3, NAME@3-0a1b2c3d or NAME@production")
    return Reference(name=name, ref=ref or "production")


def find_version(models_root: Path, name: str, ref: str, *, verify: bool = True) -> Version:
    """Return the version that a number, a label or an alias means, with every byte checked."""
    label = ref
    if ref in ALIASES:
        label = read_aliases(models_root, name).names[ref]
        if not label:
            require_model(models_root, name)
            raise ConfigError(f"{name} has nothing under {ref!r}. {_way_to(ref, name)}")
    version = pick_version(models_root, name, label)
    if verify:
        verify_version(version)
    return version


def read_aliases(models_root: Path, name: str) -> Aliases:
    """Return where the aliases of a model point."""
    path = models_root / name / "aliases.json"
    try:
        table = json.loads(path.read_bytes())
        return Aliases(**table["aliases"], revision=table["revision"], last_move=Move(**table["last_move"]))
    except FileNotFoundError:
        return Aliases()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged: {error}. The last line of events.jsonl beside it says the truth."
        ) from error


def read_events(models_root: Path, name: str) -> tuple[dict[str, Any], ...]:
    """Return the log of moves, oldest first; `when` is UTC, or empty where the mover died before it wrote."""
    path = models_root / name / "events.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return tuple(json.loads(line) for line in lines)


def nominate(
    models_root: Path, name: str, ref: str, *, why: str, who: str = "", expected: Aliases | None = None
) -> Aliases:
    """Point `candidate` at a version that the gate did not refuse."""
    version = find_version(models_root, name, ref)
    if version.status == REFUSED:
        raise GateRefused(
            f"{name}@{version.label} was refused by the gate and cannot be a candidate: {_verdict(version)}"
        )
    with lock_model(models_root, name):
        aliases = _current(models_root, name, expected)
        after = replace(aliases, candidate=version.label)
        return _move(models_root, name, aliases, after, "nominate", version.label, who, why, forced=False)


def promote(
    models_root: Path,
    name: str,
    ref: str,
    *,
    why: str,
    who: str = "",
    force: bool = False,
    expected: Aliases | None = None,
) -> Aliases:
    """Put a version in production; what was there becomes `previous`. A refused one needs `force`, which is recorded.

    With `expected`, the aliases must still be those that the caller decided on.
    """
    version = find_version(models_root, name, ref)
    forced = version.status == REFUSED
    if forced and not force:
        raise GateRefused(
            f"{name}@{version.label} was refused by the gate: {_verdict(version).rstrip('.')}. "
            f"Promote another (mmpipe models ls {name}), or insist with --force; that is recorded."
        )
    with lock_model(models_root, name):
        aliases = _current(models_root, name, expected)
        if aliases.production == version.label:
            return aliases
        after = replace(aliases, production=version.label, previous=aliases.production)
        return _move(models_root, name, aliases, after, "promote", version.label, who, why, forced=forced)


def rollback(models_root: Path, name: str, *, why: str, who: str = "", expected: Aliases | None = None) -> Aliases:
    """Put the previous version back in production; `previous` is then empty, so that twice does not undo it."""
    with lock_model(models_root, name):
        aliases = _current(models_root, name, expected)
        if not aliases.previous:
            require_model(models_root, name)
            raise ConfigError(f"{name} has no previous version to go back to. {_way_to('production', name)}")
        verify_version(pick_version(models_root, name, aliases.previous))
        after = replace(aliases, production=aliases.previous, previous="")
        return _move(models_root, name, aliases, after, "rollback", aliases.previous, who, why, forced=False)


# --------------------------------------------------------------------------- under the lock


def _current(models_root: Path, name: str, expected: Aliases | None) -> Aliases:
    aliases = read_aliases(models_root, name)
    _finish_log(models_root / name / "events.jsonl", aliases)
    if expected is not None and expected != aliases:
        raise TransientError(
            f"the aliases of {name} moved meanwhile: {aliases.names} (revision {aliases.revision}), "
            f"not {expected.names} (revision {expected.revision}). Look again, and decide again."
        )
    return aliases


def _move(
    models_root: Path,
    name: str,
    before: Aliases,
    after: Aliases,
    action: str,
    version: str,
    who: str,
    why: str,
    *,
    forced: bool,
) -> Aliases:
    if before.names == after.names:
        return before
    revision = before.revision + 1
    move = Move(
        revision=revision,
        action=action,
        version=version,
        before=before.names,
        after=after.names,
        who=who,
        why=why,
        forced=forced,
    )
    table = {"format": 1, "revision": revision, "aliases": after.names, "last_move": asdict(move)}
    replace_bytes(models_root / name / "aliases.json", canonical_json(table))
    _append(models_root / name / "events.jsonl", move, datetime.now(UTC).isoformat(timespec="seconds"))
    return replace(after, revision=revision, last_move=move)


def _finish_log(path: Path, aliases: Aliases) -> None:
    """Write the line that a killed process owes; a torn line at the end was never a line."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    lines = whole.splitlines()
    logged = json.loads(lines[-1])["revision"] if lines else 0
    if aliases.last_move and logged < aliases.revision:
        _append(path, aliases.last_move, when="")


def _append(path: Path, move: Move, when: str) -> None:
    with open(path, "ab") as file:
        file.write(_to_line({"when": when, **asdict(move)}) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def line_fault(line: bytes, revision: int) -> str:
    """Say what is wrong with a line of the log that should be of a revision, "" where it is as written."""
    try:
        table = json.loads(line)
        checksum = table.pop("checksum", None)
        if checksum is None or _to_line(table) != line:
            return "is not what was written"
        return "" if table["revision"] == revision else f"is of revision {table['revision']}: a line is missing"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"is damaged: {error}"


def _to_line(table: Mapping[str, Any]) -> bytes:
    """Return a line of the log; its checksum is over the rest, so that a changed letter shows."""
    checksum = hashlib.sha256(canonical_json(table)).hexdigest()
    return json.dumps({**table, "checksum": checksum}, sort_keys=True, ensure_ascii=False).encode()


# --------------------------------------------------------------------------- what is said


def _way_to(ref: str, name: str) -> str:
    if ref == "previous":
        return "A version becomes previous when another is promoted over it."
    return f"See the versions: mmpipe models ls {name}; choose one: mmpipe models promote {name}@NUMBER --why TEXT"


def _verdict(version: Version) -> str:
    path = version.path / "verdict.json"
    if not path.exists():
        return "it carries no verdict.json"
    return str(json.loads(version.read("verdict.json")).get("sentence", "see its verdict.json"))
