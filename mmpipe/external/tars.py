"""WebDataset tars: the key is a member's name up to the first dot of its last part, the rest says what it is."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.external.npy import read_header
from mmpipe.external.pin import Shape
from mmpipe.external.values import shape_of

SUFFIXES = (".tar",)


def split_member(name: str) -> tuple[str, str]:
    """Return (key, the rest in lower case) of a member's name."""
    folder, _, last = name.rpartition("/")
    stem, _, rest = last.partition(".")
    return (f"{folder}/{stem}" if folder else stem), rest.lower()


def array_kinds(path: Path, name: str) -> set[str]:
    """Return the names after the key of all npy members."""
    return {rest for _, rest, _ in _members(path, name) if rest.endswith("npy")}


def read_keys(path: Path, name: str, kind: str) -> Iterator[str]:
    """Yield the keys that have a member of this kind."""
    yield from (key for key, rest, _ in _members(path, name) if rest == kind)


def read_shape(path: Path, name: str, kind: str) -> Shape | None:
    """Return the shape of the first member of this kind, by its header."""
    with _open(path, name) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() and split_member(member.name)[1] == kind else None
            if file is not None:
                where = f"{member.name} of {name}"
                return shape_of(*read_header(file, where), where)  # type: ignore[arg-type]
    return None


def read_members(path: Path, name: str, kind: str) -> Iterator[tuple[str, bytes]]:
    """Yield (key, bytes) of every member of this kind."""
    with _open(path, name) as tar:
        for member in tar:
            key, rest = split_member(member.name)
            file = tar.extractfile(member) if member.isreg() and rest == kind else None
            if file is not None:
                yield key, file.read()


def _members(path: Path, name: str) -> Iterator[tuple[str, str, int]]:
    with _open(path, name) as tar:
        yield from ((*split_member(member.name), member.size) for member in tar if member.isreg())


def _open(path: Path, name: str) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except tarfile.TarError as error:
        raise ConfigError(f"{name} is no plain tar: {error}") from error
