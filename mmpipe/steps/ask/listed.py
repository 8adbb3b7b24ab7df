"""Which recordings are meant by files and folders that somebody names: all that lies there is used, or has a reason."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmpipe.config import CorpusConfig
from mmpipe.errors import ConfigError
from mmpipe.io import escape_name
from mmpipe.sources.listing import Listing, list_corpus
from mmpipe.sources.stems import AssetFiles, group_files
from mmpipe.sources.suffixes import split_suffix
from mmpipe.steps.ask.answers import Unanswered
from mmpipe.types import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """The recordings below one folder, and what there can be none."""

    root: Path
    stems: tuple[AssetFiles, ...]
    unusable: tuple[Unanswered, ...]
    beside: tuple[Unanswered, ...] = ()  # no media, and nobody named it: told, but no recording that failed
    prefix: str = ""  # of every source, where several folders are asked about


def find_recordings(
    paths: Sequence[Path], source: CorpusConfig, exclude: frozenset[Path] = frozenset()
) -> list[Recordings]:
    """Return what files (with those of the same stem) and whole folders come to, by folder; but not `exclude`."""
    folders, files = _sort_paths(paths)
    found = [_recordings(list_corpus(folder, exclude), folder, source, None) for folder in folders]
    found += [
        _recordings(pick_files(list_corpus(folder, exclude, recursive=False), names), folder, source, names)
        for folder, names in sorted(files.items())
    ]
    return _told_apart(found)


def _is_beside(drop: Drop, names: frozenset[str] | None) -> bool:
    """Say whether it only lies there: no media by its name, and nobody asked about it."""
    return drop.code == "unknown_type" and drop.file not in (names or ())


def _told_apart(found: list[Recordings]) -> list[Recordings]:
    """Give each of several folders a prefix: its way from the nearest folder that holds them all."""
    if len(found) < 2:
        return found
    common = os.path.commonpath([part.root for part in found])
    ways = [os.path.relpath(part.root, common) for part in found]
    prefixes = ["" if way == os.curdir else f"{escape_name(way)}/" for way in ways]
    return [replace(part, prefix=prefix) for part, prefix in zip(found, prefixes, strict=True)]


def pick_files(listing: Listing, names: frozenset[str]) -> Listing:
    """Return of a folder's listing only the named files and those of the same stems."""
    stems = {split_suffix(name)[0] for name in names}
    return Listing(
        files=tuple(file for file in listing.files if split_suffix(file.name)[0] in stems),
        drops=tuple(drop for drop in listing.drops if split_suffix(drop.file)[0] in stems),
        filtered=tuple(entry for entry in listing.filtered if entry.name in names),
    )


def _recordings(listing: Listing, root: Path, source: CorpusConfig, names: frozenset[str] | None) -> Recordings:
    grouping = group_files(listing.files, source.arrays.suffixes)
    drops = [drop for drop in (*listing.drops, *grouping.drops) if not drop.kept]
    beside = [drop for drop in drops if _is_beside(drop, names)]
    unusable = [Unanswered.of(drop) for drop in drops if not _is_beside(drop, names)]
    unusable += [
        Unanswered(source=entry.name, code="filtered", detail=f"left out by rule: {entry.reason}")
        for entry in listing.filtered
        if names is not None  # of a folder, what is no media by its name was never asked about
    ]
    return Recordings(
        root=root,
        stems=grouping.assets,
        unusable=tuple(unusable),
        beside=tuple(Unanswered.of(drop) for drop in beside),
    )


def _sort_paths(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, frozenset[str]]]:
    """Return the folders, and the files by theirs; a link is answered as what it points to."""
    folders: dict[Path, None] = {}
    files: defaultdict[Path, set[str]] = defaultdict(set)
    for path in paths:
        if not path.exists():
            raise ConfigError(f"no such file or folder: {path}")
        real = path.resolve()
        if real.is_dir():
            folders[real] = None
        else:
            files[real.parent].add(escape_name(real.name))
    outer = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    loose = {folder: names for folder, names in files.items() if not any(_holds(other, folder) for other in outer)}
    return outer, {folder: frozenset(names) for folder, names in loose.items()}


def _holds(folder: Path, inner: Path) -> bool:
    return folder == inner or folder in inner.parents
