"""A path in an object store: the few questions that a store needs, and no listing from a cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import Any, NamedTuple, NoReturn

from mmpipe.remote import client

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")


class RemoteStat(NamedTuple):
    """What is known of an object without its bytes."""

    st_size: int
    st_mtime: float
    etag: str  # "" where the file system has none

    @property
    def stamp(self) -> str:
        """Return what `remove_unchanged` wants to see again."""
        return self.etag or str(self.st_mtime)

    @property
    def st_mtime_ns(self) -> int:
        """Return the time in whole seconds, as nanoseconds: a listing and a question may differ below that."""
        return int(self.st_mtime) * 1_000_000_000

    @property
    def st_ino(self) -> int:
        """Return what differs for other bytes under the same name."""
        return int(hashlib.sha256(self.etag.encode()).hexdigest()[:15], 16)


class RemotePath(PosixPath):
    """A path such as `s3://bucket/store`, with the methods of a path that make sense there.

    It is a `Path`, so that code for stores is written once; what opens files by name is refused (`local_file` gives
    a file on this machine).
    """

    __slots__ = ()

    def __str__(self) -> str:
        """Return the URL."""
        protocol, *keys = self.parts
        return f"{protocol}//{'/'.join(keys)}"

    def __fspath__(self) -> str:
        """Refuse to be opened as a local file."""
        raise TypeError(f"{self} is not on this machine: read it by `local_file`, write it by mmpipe.io")

    def is_absolute(self) -> bool:
        """Say yes: a URL is relative to nothing."""
        return True

    def absolute(self) -> RemotePath:
        """Return itself."""
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        """Return itself: there are no links."""
        return self

    def relative_to(self, *other: Any, **options: Any) -> Path:  # type: ignore[override]
        """Return the rest of the path below another."""
        return Path(*super().relative_to(*other).parts)

    def stat(self, *, follow_symlinks: bool = True) -> RemoteStat:  # type: ignore[override]
        """Return size, time and etag of an object; FileNotFoundError where there is none."""
        if client.is_s3(self):
            with client.speaking(self):
                found = client.look_s3(self)
            return _stat_of({**found, "size": found["ContentLength"]})
        info = self.info()
        if info["type"] == "directory":
            raise FileNotFoundError(f"{self} is no object")
        return _stat_of(info)

    def exists(self, **options: Any) -> bool:
        """Say whether an object, or anything below this name, is there."""
        return self._kind() != ""

    def is_file(self, **options: Any) -> bool:
        """Say whether an object is there."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **options: Any) -> bool:
        """Say whether anything is below this name."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Say no: there are no links."""
        return False

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        """Say whether another is the same name: there are no links."""
        return str(self) == str(other_path)

    def read_bytes(self) -> bytes:
        """Return an object's bytes."""
        with client.speaking(self):
            data: bytes = client.file_system(self).cat_file(str(self))
            return data

    def read_text(self, *args: Any, **options: Any) -> str:
        """Return an object's bytes as UTF-8 text."""
        return self.read_bytes().decode()

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """Yield what is directly below, sorted; nothing where nothing is."""
        for name, _ in self.entries():
            yield self / name

    def entries(self) -> list[tuple[str, bool]]:
        """Return the names directly below, sorted, each with whether it is a folder."""
        return [(name, info["type"] == "directory") for name, info in self._list()]

    def files(self) -> list[tuple[str, RemoteStat]]:
        """Return the names of the objects directly below, sorted, each with its status, by one listing."""
        return [(name, _stat_of(info)) for name, info in self._list() if info["type"] != "directory"]

    def _list(self) -> list[tuple[str, dict[str, Any]]]:
        if client.is_s3(self):
            try:
                with client.speaking(self):
                    return sorted(client.list_s3(self), key=lambda child: child[0])
            except FileNotFoundError:  # no such bucket
                return []
        try:
            with client.speaking(self):
                found = client.file_system(self).ls(str(self), detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        own = self.parts[1:]
        found = [(tuple(part for part in info["name"].split("/") if part), info) for info in found]
        return sorted(
            ((parts[-1], info) for parts, info in found if len(parts) == len(own) + 1), key=lambda child: child[0]
        )

    def glob(self, pattern: str, **options: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Yield what matches below, one folder at a time."""
        first, _, rest = pattern.partition("/")
        if first == "**":
            yield from self.glob(rest)
            for name, folder in self.entries():
                if folder:
                    yield from (self / name).glob(pattern)
            return
        for name, folder in self.entries():
            if fnmatchcase(name, first):
                if not rest:
                    yield self / name
                elif folder:
                    yield from (self / name).glob(rest)

    def rglob(self, pattern: str, **options: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Yield what matches anywhere below."""
        yield from self.glob(f"**/{pattern}")

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object."""
        try:
            with client.speaking(self):
                client.file_system(self).rm_file(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: bytes in an object store are read by `local_file` and `read_range`."""
        self.__fspath__()
        raise AssertionError

    def mkdir(self, *args: Any, **options: Any) -> None:
        """Do nothing: a folder is there as soon as something is in it."""

    def info(self) -> dict[str, Any]:
        """Return what the client tells of an object or of a folder; FileNotFoundError where there is neither."""
        with client.speaking(self):
            info: dict[str, Any] = client.file_system(self).info(str(self), refresh=True)
            return info

    def _kind(self) -> str:
        try:
            return str(self.info()["type"])
        except FileNotFoundError:
            return ""


def store_path(place: str | os.PathLike[str]) -> Path:
    """Return the path of a store given as a folder or as a URL such as `s3://bucket/prefix`."""
    if isinstance(place, Path):
        return place
    text = os.fspath(place)
    match = _URL.fullmatch(text)
    if match is None:
        return Path(text)
    return Path(match[2]) if match[1] in ("file", "local") else RemotePath(text)


def local_home(path: Path) -> Path:
    """Return the folder of this machine that holds what a remote store's writers keep for themselves."""
    url = str(path)
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", url)[-60:].strip("-.")
    return cache_root() / "stores" / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def cache_root() -> Path:
    """Return the folder of this machine for copies and unfinished work of remote stores: `MMPIPE_CACHE`."""
    return Path(os.environ.get("MMPIPE_CACHE") or Path.home() / ".cache" / "mmpipe")


def _stat_of(info: dict[str, Any]) -> RemoteStat:
    changed = info.get("LastModified") or info.get("created")
    seconds = changed.timestamp() if changed is not None else 0.0
    return RemoteStat(st_size=int(info["size"]), st_mtime=seconds, etag=str(info.get("ETag") or ""))
