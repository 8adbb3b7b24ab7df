"""Which version is in use: three names that move, and a log of every move.

`aliases.json` is the truth, replaced whole under the model's lock; `events.jsonl` only ever grows. The last move stands
in both, so a process that dies between the two writes loses nothing: the next one finishes its line. In an object
store each move is an object of its own, put-if-absent: of two that move at once one is second, and looks again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, GateRefused, StoreError, TransientError
from mmpipe.io import replace_bytes
from mmpipe.registry.bucket import add_move, read_far_aliases, read_far_lines, show_moves
from mmpipe.registry.moves import ALIASES as ALIASES
from mmpipe.registry.moves import Aliases as Aliases
from mmpipe.registry.moves import Move as Move
from mmpipe.registry.moves import aliases_after, aliases_from_bytes, aliases_to_bytes, line_of
from mmpipe.registry.moves import line_fault as line_fault
from mmpipe.registry.versions import Version, lock_model, pick_version, require_model, require_whole
from mmpipe.remote import RemotePath

REFUSED = "refused"
WITHHELD = frozenset({REFUSED, "insufficient groups"})  # what the gate did not let through
_MAX_ATTEMPTS = 20


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
        require_whole(version)
    return version


def read_aliases(models_root: Path, name: str) -> Aliases:
    """Return where the aliases of a model point."""
    if isinstance(models_root, RemotePath):
        return read_far_aliases(models_root / name)
    path = models_root / name / "aliases.json"
    try:
        return aliases_from_bytes(path.read_bytes())
    except FileNotFoundError:
        return Aliases()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged: {error}. The last line of events.jsonl beside it says the truth."
        ) from error


def read_events(models_root: Path, name: str) -> tuple[dict[str, Any], ...]:
    """Return the log of moves, oldest first; `when` is UTC, or empty where the mover died before it wrote."""
    if isinstance(models_root, RemotePath):
        return tuple(json.loads(line) for line in read_far_lines(models_root / name))
    path = models_root / name / "events.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return tuple(json.loads(line) for line in lines)


def nominate(
    models_root: Path, name: str, ref: str, *, why: str, who: str = "", expected: Aliases | None = None
) -> Aliases:
    """Point `candidate` at a version that the gate did not refuse."""
    version = find_version(models_root, name, ref)
    if version.status in WITHHELD:
        raise GateRefused(
            f"{name}@{version.label} was refused by the gate and cannot be a candidate: {_verdict(version)}"
        )

    def decide(aliases: Aliases) -> Move | None:
        after = replace(aliases, candidate=version.label)
        return _move(aliases, after, "nominate", version.label, who, why)

    return _change(models_root, name, expected, decide)


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
    forced = version.status in WITHHELD
    if forced and not force:
        raise GateRefused(
            f"{name}@{version.label} was refused by the gate: {_verdict(version).rstrip('.')}. "
            f"Promote another (mmpipe models ls {name}), or insist with --force; that is recorded."
        )

    def decide(aliases: Aliases) -> Move | None:
        if aliases.production == version.label:
            return None
        after = replace(aliases, production=version.label, previous=aliases.production)
        return _move(aliases, after, "promote", version.label, who, why, forced=forced)

    return _change(models_root, name, expected, decide)


def rollback(models_root: Path, name: str, *, why: str, who: str = "", expected: Aliases | None = None) -> Aliases:
    """Put the previous version back in production; `previous` is then empty, so that twice does not undo it."""

    def decide(aliases: Aliases) -> Move | None:
        if not aliases.previous:
            require_model(models_root, name)
            raise ConfigError(f"{name} has no previous version to go back to. {_way_to('production', name)}")
        require_whole(pick_version(models_root, name, aliases.previous))
        after = replace(aliases, production=aliases.previous, previous="")
        return _move(aliases, after, "rollback", aliases.previous, who, why)

    return _change(models_root, name, expected, decide)


# --------------------------------------------------------------------------- moving


def _change(
    models_root: Path, name: str, expected: Aliases | None, decide: Callable[[Aliases], Move | None]
) -> Aliases:
    """Make the move that somebody decides on when told where the aliases point; None: there is none to make."""
    if isinstance(models_root, RemotePath):
        return _change_far(models_root / name, name, expected, decide)
    with lock_model(models_root, name):
        aliases = read_aliases(models_root, name)
        _finish_log(models_root / name / "events.jsonl", aliases)
        _require_unmoved(name, aliases, expected)
        move = decide(aliases)
        if move is None:
            return aliases
        replace_bytes(models_root / name / "aliases.json", aliases_to_bytes(move))
        _append(models_root / name / "events.jsonl", move, _now())
        return aliases_after(move)


def _change_far(
    model: RemotePath, name: str, expected: Aliases | None, decide: Callable[[Aliases], Move | None]
) -> Aliases:
    for _ in range(_MAX_ATTEMPTS):
        aliases = read_far_aliases(model)
        _require_unmoved(name, aliases, expected)
        move = decide(aliases)
        if move is None:
            return aliases
        if add_move(model, move, _now()):
            show_moves(model)
            return aliases_after(move)
    raise TransientError(f"the aliases of {name} are moved by many at once. Nothing is lost: run again.")


def _require_unmoved(name: str, aliases: Aliases, expected: Aliases | None) -> None:
    if expected is not None and expected != aliases:
        raise TransientError(
            f"the aliases of {name} moved meanwhile: {aliases.names} (revision {aliases.revision}), "
            f"not {expected.names} (revision {expected.revision}). Look again, and decide again."
        )


def _move(
    before: Aliases, after: Aliases, action: str, version: str, who: str, why: str, *, forced: bool = False
) -> Move | None:
    if before.names == after.names:
        return None
    return Move(
        revision=before.revision + 1,
        action=action,
        version=version,
        before=before.names,
        after=after.names,
        who=who,
        why=why,
        forced=forced,
    )


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
        file.write(line_of(move, when))
        file.flush()
        os.fsync(file.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
