"""Seal a finished training: SHA256SUMS over every file of its folder, which `sha256sum -c` checks without mmpipe.

Lines that are there stay as they are: sealing again adds what is new, and never takes damage for truth.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import replace_bytes, sha256_file

SUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def seal_folder(folder: Path, *, anew: bool = False, coming: Mapping[str, bytes] | None = None) -> None:
    """Write the sums of a folder's files, and of small ones that are written right after; `anew` forgets old lines."""
    sums = {} if anew else {**read_sums(folder)}
    for name in _names(folder):
        if name not in sums:
            sums[name] = sha256_file(folder / name)
    for name, data in (coming or {}).items():
        sums[name] = hashlib.sha256(data).hexdigest()
    replace_bytes(folder / SUMS_NAME, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())


def find_broken_seals(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, what is wrong) for files that are not as they were sealed; a folder without a seal has none."""
    if not (folder / SUMS_NAME).exists():
        return
    try:
        sums = read_sums(folder)
    except StoreError as error:
        yield folder / SUMS_NAME, str(error)
        return
    for name in sorted(sums):
        if not (folder / name).is_file():
            yield folder / name, "it is missing"
        elif sha256_file(folder / name) != sums[name]:
            yield folder / name, "it has other bytes than when the training was finished"


def find_unsealed(folder: Path) -> list[Path]:
    """Return the files of a sealed folder that its seal does not speak of; none without a whole seal."""
    try:
        sums = read_sums(folder)
    except StoreError:
        return []  # the seal itself is damaged
    return [folder / name for name in _names(folder) if name not in sums] if sums else []


def read_sums(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of a sealed folder, nothing without a seal; StoreError where the seal is damaged."""
    path = folder / SUMS_NAME
    if not path.exists():
        return {}
    matches = [_LINE.fullmatch(line) for line in path.read_bytes().decode(errors="replace").split("\n")[:-1]]
    sums = {match[2]: match[1] for match in matches if match}
    if "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode() != path.read_bytes():
        raise StoreError(f"{path} is not the sorted list of sums that was written. Run `mmpipe verify`.")
    return sums


def _names(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if path.name != SUMS_NAME and not path.name.startswith("."))
