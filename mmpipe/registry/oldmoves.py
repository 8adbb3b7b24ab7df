"""Lines of a log of moves that an older mmpipe wrote, without a checksum: finding them, and giving them one."""

from __future__ import annotations

import json
from pathlib import Path

from mmpipe.io import replace_bytes
from mmpipe.registry.moves import Move, line_of
from mmpipe.registry.versions import lock_model
from mmpipe.remote import RemotePath


def is_unsigned(line: bytes) -> bool:
    """Say whether a line is whole and has no checksum."""
    try:
        table = json.loads(line)
    except ValueError:
        return False
    return isinstance(table, dict) and "checksum" not in table


def count_unsigned(models_root: Path, name: str) -> int:
    """Return how many such lines a model's log has; in an object store every move had one from the start."""
    if isinstance(models_root, RemotePath):
        return 0
    return sum(map(is_unsigned, _read_lines(models_root / name / "events.jsonl")))


def sign_moves(models_root: Path, name: str) -> int:
    """Give every such line a checksum over what it says now; return how many there were."""
    if not count_unsigned(models_root, name):
        return 0
    path = models_root / name / "events.jsonl"
    with lock_model(models_root, name):
        count = count_unsigned(models_root, name)
        replace_bytes(path, b"".join(map(_signed, _read_lines(path))))
    return count


def _signed(line: bytes) -> bytes:
    if not is_unsigned(line):
        return line + b"\n"
    table = json.loads(line)
    when = table.pop("when", "")
    return line_of(Move(**table), when)


def _read_lines(path: Path) -> list[bytes]:
    """Return the whole lines; a torn one at the end was never a line."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
