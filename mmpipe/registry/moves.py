"""One change of a model's aliases, and the line of the log that it stands in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmpipe.io import canonical_json

ALIASES = ("candidate", "production", "previous")


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


def aliases_after(move: Move) -> Aliases:
    """Return where the names point after a move."""
    return Aliases(**move.after, revision=move.revision, last_move=move)


def aliases_to_bytes(move: Move) -> bytes:
    """Return what aliases.json holds after a move."""
    table = {"format": 1, "revision": move.revision, "aliases": dict(move.after), "last_move": asdict(move)}
    return canonical_json(table)


def aliases_from_bytes(data: bytes) -> Aliases:
    """Read aliases.json; ValueError, KeyError or TypeError on anything else."""
    table = json.loads(data)
    return Aliases(**table["aliases"], revision=table["revision"], last_move=Move(**table["last_move"]))


def line_of(move: Move, when: str) -> bytes:
    """Return the log's line of a move; `when` is empty where that is not known."""
    return _to_line({"when": when, **asdict(move)}) + b"\n"


def move_of(line: bytes) -> Move:
    """Read a line of the log; ValueError, KeyError or TypeError on anything else."""
    table = json.loads(line)
    del table["checksum"], table["when"]
    return Move(**table)


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
