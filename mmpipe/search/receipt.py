"""A receipt for bytes that were checked: a search need not read gigabytes again that lie as they lay.

It stands beside the manifest, and says of each file its size, times, inode and sha256. Whoever finds a file otherwise
reads its bytes again; `mmpipe verify` always does. It proves nothing of a disk that changes bytes by itself.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mmpipe.io import canonical_json, sha256_file

RECEIPT_NAME = "checked.json"
# Two writes within one tick of a file system's clock bear one time: what was changed so shortly before the receipt
# was written, by the same clock, is read again.
STILL_NS = 2_000_000_000
_State = list[int | str]


def unchecked_faults(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """Return what is wrong with files, by their receipt where they have one; what is right gets one."""
    known = _read(folder)
    seen = {name: _state(folder / name, sha256) for name, sha256 in sums.items()}
    due = {name: sha256 for name, sha256 in sums.items() if seen[name] is None or known.get(name) != seen[name]}
    faults = list(file_faults(folder, due))
    if due and not faults:
        _write(folder, {**known, **{name: state for name, state in seen.items() if state}})
    return faults


def file_faults(folder: Path, sums: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with files, every byte read."""
    for name, sha256 in sorted(sums.items()):
        path = folder / name
        try:
            if sha256_file(path) != sha256:
                yield f"{path} has other content than its manifest says"
        except (FileNotFoundError, IsADirectoryError):
            yield f"{path} is missing"


def _state(path: Path, sha256: str) -> _State | None:
    """Return what a file looks like from outside; a write in place changes its times, and a copy has another inode."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, sha256]


def _read(folder: Path) -> dict[str, _State]:
    """Return the files that the receipt vouches for, with the state that they were in."""
    path = folder / RECEIPT_NAME
    try:
        table, stamp_ns = json.loads(path.read_bytes()), path.stat().st_mtime_ns
        return {name: state for name, state in table.items() if stamp_ns - max(state[1], state[2]) > STILL_NS}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}  # none, or half of one


def _write(folder: Path, states: Mapping[str, _State]) -> None:
    """Put a receipt in place, where this may be written to; one that is lost costs time, no more."""
    temporary = folder / f".{uuid.uuid4().hex}.{RECEIPT_NAME}"
    try:
        with suppress(OSError):
            temporary.write_bytes(canonical_json(dict(states)))
            os.replace(temporary, folder / RECEIPT_NAME)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
