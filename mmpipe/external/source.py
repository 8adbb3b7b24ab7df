"""Their files through fsspec: listed, hashed, compared with what was pinned, and opened only as pinned. Never written.

Credentials belong to the environment: a URI that carries some is refused, because it would be kept and shown.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmpipe.errors import ConfigError, TransientError
from mmpipe.external.pin import PinnedFile

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """One file of theirs as a listing shows it; `stamp` is a time or an etag, "" where there is none."""

    name: str
    nbytes: int
    stamp: str


def clean_uri(text: str) -> str:
    """Return a URI to keep: local paths absolute, nothing secret in it."""
    if "://" not in text:
        return str(Path(text).expanduser().resolve())
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"the URI of {parts.hostname or parts.scheme} carries a user, a password or a query, and it would be kept "
            "in the store. Give the plain URI, and the credentials through the environment (AWS_ACCESS_KEY_ID, ...)."
        )
    return text


class ExternalSource:
    """The files under one URI; a single file is a folder of one."""

    def __init__(self, uri: str) -> None:
        """Find the file system; nothing is read yet."""
        import fsspec

        self.uri = uri
        try:
            self._fs, path = fsspec.core.url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"cannot read from {uri!r}: {error}") from error
        self._path = str(path).rstrip("/")

    def list_files(self, suffixes: Sequence[str]) -> tuple[SeenFile, ...]:
        """Return the files with one of the suffixes, sorted; hidden ones are theirs alone. TransientError: gone."""
        try:
            self._fs.invalidate_cache()
            if self._fs.isfile(self._path):
                name = posixpath.basename(self._path)
                return (_seen(name, self._fs.info(self._path)),) if name.endswith(tuple(suffixes)) else ()
            found: Mapping[str, Mapping[str, Any]] = self._fs.find(self._path, detail=True)
        except OSError as error:
            raise TransientError(f"{self.uri} cannot be listed now: {error}") from error
        names = {path[len(self._path) :].lstrip("/"): info for path, info in found.items()}
        return tuple(
            _seen(name, info)
            for name, info in sorted(names.items())
            if name.endswith(tuple(suffixes)) and not any(part.startswith((".", "_")) for part in name.split("/"))
        )

    def digest(self, name: str) -> str:
        """Return the sha256 of a file's bytes."""
        hasher = hashlib.sha256()
        try:
            with self._fs.open(self._full(name), "rb") as file:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
        except OSError as error:
            raise TransientError(f"{name} of {self.uri} cannot be read now: {error}") from error
        return hasher.hexdigest()

    @contextmanager
    def open_pinned(self, file: PinnedFile, folder: Path) -> Iterator[Path]:
        """Give a private copy of a file that has the pinned bytes: what is checked is what is read.

        TransientError where they changed in between: the ledger says so from then on.
        """
        copy = folder / f"{file.sha256}{posixpath.splitext(file.name)[1]}"
        hasher = hashlib.sha256()
        try:
            with self._fs.open(self._full(file.name), "rb") as source, open(copy, "xb") as target:
                while chunk := source.read(_CHUNK):
                    hasher.update(chunk)
                    target.write(chunk)
        except FileNotFoundError as error:
            raise TransientError(f"{file.name} of {self.uri} is gone. See: mmpipe feature ls") from error
        try:
            if hasher.hexdigest() != file.sha256:
                raise TransientError(f"{file.name} of {self.uri} changed since it was pinned. See: mmpipe feature ls")
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _full(self, name: str) -> str:
        return self._path if posixpath.basename(self._path) == name and self._is_file() else f"{self._path}/{name}"

    def _is_file(self) -> bool:
        return bool(self._fs.isfile(self._path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How their files differ from the pinned ones."""

    detail: str
    is_gone: bool = False  # nothing of them can be reached now; otherwise they hold something else


def find_drift(
    source: ExternalSource, files: Sequence[PinnedFile], suffixes: Sequence[str], stamps: Mapping[str, str]
) -> tuple[Drift | None, dict[str, str]]:
    """Say how their files differ from the pinned ones, if they do, and return the stamps of those that do not.

    A file of the same size and stamp as when its digest was last taken is taken as the same; any other is read.
    """
    pinned = {file.name: file for file in files}
    try:
        seen = {file.name: file for file in source.list_files(suffixes)}
        if not seen:
            return Drift(detail=f"{source.uri} is gone or empty", is_gone=True), {}
        both = sorted(pinned.keys() & seen.keys())
        changed = [name for name in both if not _is_same(source, seen[name], pinned[name], stamps.get(name, ""))]
    except TransientError as error:
        return Drift(detail=str(error), is_gone=True), {}
    groups = (
        ("changed", changed),
        ("new", sorted(seen.keys() - pinned.keys())),
        ("gone", sorted(pinned.keys() - seen.keys())),
    )
    parts = [f"{len(names)} {what} ({names[0]}{', ...' if names[1:] else ''})" for what, names in groups if names]
    same = {name: seen[name].stamp for name in both if name not in changed}
    return (Drift(detail=f"files: {', '.join(parts)}") if parts else None), same


def _is_same(source: ExternalSource, seen: SeenFile, pinned: PinnedFile, stamp: str) -> bool:
    if seen.nbytes != pinned.nbytes:
        return False
    return bool(stamp and stamp == seen.stamp) or source.digest(seen.name) == pinned.sha256


def _seen(name: str, info: Mapping[str, Any]) -> SeenFile:
    stamps = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"))
    return SeenFile(name=name, nbytes=int(info["size"]), stamp=str(next((stamp for stamp in stamps if stamp), "")))
