"""Digests of large files, remembered on this machine: a plan must not read gigabytes to learn that nothing changed.

A record holds as long as the file's size and times do. A file that was written a moment ago is not remembered: a clock
that ticks slowly could hide a second write.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mmpipe.remote import cache_root

_YOUNG_S = 2.0


def file_digests(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return the sha256 of each file of a folder; what is remembered is not read again."""
    record = cache_root() / "weights" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()}.json"
    known = _read(record)
    digests, kept = [], dict(known)
    for path in files:
        name, look = path.relative_to(folder).as_posix(), _look(path)
        before = known.get(name)
        sha256 = before[1] if before and before[0] == look else _sha256(path)
        digests.append(sha256)
        if time.time() - path.stat().st_mtime > _YOUNG_S:
            kept[name] = [look, sha256]
    if kept != known:
        _write(record, kept)
    return digests


def _look(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(record: Path) -> dict[str, list]:
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(record: Path, known: dict[str, list]) -> None:
    """Put a record in place at once; without a cache the next plan reads the files again, no more."""
    temporary = record.with_name(f".{uuid.uuid4().hex}.part")
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known, sort_keys=True))
        os.replace(temporary, record)
