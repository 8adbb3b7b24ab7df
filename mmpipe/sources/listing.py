"""List the files of a corpus without following, opening or trusting any of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.io import escape_name
from mmpipe.sources.suffixes import modality_hint
from mmpipe.types import Drop, RawFile

_JUNK_NAMES = frozenset({b".ds_store", b"thumbs.db", b"desktop.ini", b"ehthumbs.db", b"icon\r"})
_JUNK_ENDS = (b"~", b".tmp", b".part", b".crdownload", b".swp")


class FilterReason(StrEnum):
    """Why an entry was never meant to be data."""

    HIDDEN = "hidden"  # its name begins with a dot; a hidden folder counts once, and is not entered
    JUNK = "junk"  # what file managers, editors and downloads leave behind
    EXCLUDED = "excluded"  # the caller named it: the labels table, a store inside the corpus
    PATTERN = "pattern"  # it lies beside archives, and does not fit the pattern that says which are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """An entry left out by rule: counted, but not quarantined."""

    name: str  # escaped, corpus-relative
    reason: FilterReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Every entry of a corpus, in exactly one of three places, each sorted by escaped name."""

    files: tuple[RawFile, ...]
    drops: tuple[Drop, ...]
    filtered: tuple[Filtered, ...]


def list_corpus(root: Path, exclude: frozenset[Path] = frozenset(), recursive: bool = True) -> Listing:
    """List a corpus, with or without the folders in it.

    `exclude` names files or folders to leave out, by identity and so by any path.

    No symbolic link is followed but `root` itself. A folder named like media (`x.mp4`) is dropped as one and still
    listed inside. Raise ConfigError where the root cannot be listed at all.
    """
    if not root.is_dir():
        raise ConfigError(f"the corpus root {root} is not a folder. Correct `root` of the corpus in the config.")
    if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
        raise ConfigError(f"the corpus root {root} cannot be read. Make it readable, or correct `root` in the config.")
    excluded = _identities(exclude)
    found = list(_walk(os.path.realpath(os.fsencode(root)), excluded, recursive))
    return Listing(
        files=tuple(sorted((entry for entry in found if isinstance(entry, RawFile)), key=lambda file: file.name)),
        drops=tuple(sorted((entry for entry in found if isinstance(entry, Drop)), key=lambda drop: drop.file)),
        filtered=tuple(sorted((entry for entry in found if isinstance(entry, Filtered)), key=lambda skip: skip.name)),
    )


def _identities(paths: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """Return (device, inode) of the paths that exist, and of what they link to."""
    found = set()
    for path in paths:
        for follow in (True, False):
            try:
                status = os.stat(path, follow_symlinks=follow)
            except OSError:
                continue  # what is not there needs no exclusion
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _walk(root: bytes, excluded: frozenset[tuple[int, int]], recursive: bool) -> Iterator[RawFile | Drop | Filtered]:
    """Yield what lies below `root`; a stack and not recursion, since a hostile tree can be deeper than Python's."""
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            # Bytes in, bytes out: names are what the disk holds, whatever the locale.
            with os.scandir(os.path.join(root, folder)) as entries:
                children = [(os.path.join(folder, entry.name), entry) for entry in entries]
        except OSError as error:
            yield _drop("unreadable", folder, f"the folder cannot be listed: {error.strerror}")
            continue
        for name, entry in children:
            reason = filter_reason(entry.name)
            if reason:
                yield Filtered(name=escape_name(name), reason=reason)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                yield _drop("unreadable", name, f"cannot be looked at: {error.strerror}")
                continue
            if (status.st_dev, status.st_ino) in excluded:
                yield Filtered(name=escape_name(name), reason=FilterReason.EXCLUDED)
            elif stat.S_ISDIR(status.st_mode):
                if not recursive:
                    continue
                folders.append(name)
                if modality_hint(escape_name(name)):
                    yield _drop("not_regular", name, "a folder that is named like a media file")
            else:
                yield _judge(root, name, status)


def filter_reason(base: bytes) -> FilterReason | None:
    """Return why a file or folder of this name is never data, None where it may be."""
    lower = base.lower()
    if lower in _JUNK_NAMES or lower.endswith(_JUNK_ENDS) or base.startswith(b"~$"):
        return FilterReason.JUNK
    return FilterReason.HIDDEN if base.startswith(b".") else None


def _judge(root: bytes, name: bytes, status: os.stat_result) -> RawFile | Drop:
    if not stat.S_ISREG(status.st_mode):
        return _drop("not_regular", name, f"a {_kind(status.st_mode)}, not a regular file")
    if not os.access(os.path.join(root, name), os.R_OK, effective_ids=True, follow_symlinks=False):
        return _drop("unreadable", name, "the file may not be read by this user")
    if status.st_size == 0:
        return _drop("empty_file", name, "the file holds no bytes")
    return RawFile(
        name=escape_name(name),
        nbytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        ctime_ns=status.st_ctime_ns,
    )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _drop(code: str, name: bytes, detail: str) -> Drop:
    return Drop(stage="list", code=code, detail=detail, file=escape_name(name))
