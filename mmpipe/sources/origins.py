"""Where a corpus comes from: a folder or a URL, its objects by name, and no credential in anything that is said."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from mmpipe.errors import ConfigError, MmpipeError, SampleError, TransientError
from mmpipe.io import escape_name, unescape_name
from mmpipe.remote import RemotePath
from mmpipe.types import digest_of

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# What a table's cells may name beside files below the root: never this machine's files.
_PROTOCOLS = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
_BLOCK_BYTES = 8 << 20
_THREADS = 8
_TIMES = ("LastModified", "last_modified", "mtime", "created", "updated", "Last-Modified")
_TAGS = ("ETag", "etag", "Content-MD5", "Last-Modified")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One object of a source: `name` is escaped and relative to its root, or a URL."""

    name: str
    nbytes: int
    stamp: str  # other bytes have another


class NoAnswerError(SampleError):
    """One address of a table cannot be asked: it has no credentials, no client, or no server that answers."""


class Origin(Protocol):
    """A place with objects in it."""

    def objects(self) -> list[SourceObject]:
        """Return every object, sorted by name."""

    def look(self, name: str) -> SourceObject:
        """Return one object. Raise SampleError unreadable where there is none."""

    def open(self, name: str) -> BinaryIO:
        """Open an object to be read forward; the caller closes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOrigin:
    """A folder of this machine; how a file in it is opened without following links, the caller knows."""

    listed: Callable[[], list[SourceObject]]
    open_file: Callable[[str], int]

    def objects(self) -> list[SourceObject]:
        """Return every regular file."""
        return self.listed()

    def look(self, name: str) -> SourceObject:
        """Return one regular file."""
        with self.open(name) as file:
            return stamp_of_file(name, file)

    def open(self, name: str) -> BinaryIO:
        """Open a regular file."""
        return open(self.open_file(name), "rb")


class UrlOrigin:
    """A URL such as s3://bucket/prefix or https://host/folder, through fsspec."""

    def __init__(self, url: str) -> None:
        """Take the URL of the folder; nothing is asked yet."""
        self._url = url.rstrip("/")

    def objects(self) -> list[SourceObject]:
        """Return every object below the URL. Raise ConfigError where it cannot be listed."""
        try:
            with _asking(self._url):
                system, root = _system(self._url)
                # A web server that does not answer is an empty folder to fsspec, unless it is told otherwise.
                options = {"on_error": "raise"} if "http" in system.protocol else {}
                found = _with_stamps(system, system.find(root, detail=True, **options))
        except SampleError as error:
            raise ConfigError(f"{error.detail}. Correct `root` of the corpus, or give the credentials.") from None
        prefix = root.rstrip("/") + "/"
        entries = ((name, info) for name, info in found.items() if info.get("type") == "file")
        named = ((name.removeprefix(prefix), info) for name, info in entries if name.startswith(prefix))
        return sorted((_object(escape_name(name), info) for name, info in named if name), key=lambda entry: entry.name)

    def look(self, name: str) -> SourceObject:
        """Return one object."""
        with _asking(self._url):
            system, root = _system(self._url)
            return _object(name, system.info(_below(root, name)))

    def open(self, name: str) -> BinaryIO:
        """Open one object."""
        with _asking(self._url):
            system, root = _system(self._url)
            return cast(BinaryIO, _Stream(system.open(_below(root, name), "rb", block_size=_BLOCK_BYTES), self._url))


class AnywhereOrigin:
    """Objects under URLs of their own, as the cells of a table give them."""

    def objects(self) -> list[SourceObject]:
        """Refuse: there is no folder."""
        raise AssertionError("URLs of their own have no listing")

    def look(self, name: str) -> SourceObject:
        """Return the object under a URL."""
        _require_allowed(name)
        with _asking(name):
            system, path = _system(name)
            return _object(name, system.info(path))

    def open(self, name: str) -> BinaryIO:
        """Open the object under a URL."""
        _require_allowed(name)
        with _asking(name):
            system, path = _system(name)
            return cast(BinaryIO, _Stream(system.open(path, "rb", block_size=_BLOCK_BYTES), name))


def is_url(place: Path | str) -> bool:
    """Say whether a place is not of this machine."""
    return isinstance(place, RemotePath) or (isinstance(place, str) and bool(URL.match(place)))


def clean_url(url: str) -> str:
    """Return a URL without what may be a secret in it: user, password and query."""
    return re.sub(r"[?#].*", "", re.sub(r"//[^/]*@", "//", url), flags=re.DOTALL)


def stamp_of_file(name: str, file: BinaryIO) -> SourceObject:
    """Return an open file as an object."""
    import os

    status = os.fstat(file.fileno())
    stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return SourceObject(name=name, nbytes=status.st_size, stamp=stamp)


class _Stream(io.RawIOBase):
    """An object being read; whatever its client raises is said without the credentials of its URL."""

    def __init__(self, file: Any, url: str) -> None:
        super().__init__()
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _asking(self._url):
            return bytes(self._file.read(size))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _system(url: str) -> tuple[Any, str]:
    import fsspec

    if "::" in url:
        raise ConfigError(f"{clean_url(url)}: chained URLs are not read")
    found: tuple[Any, str] = fsspec.core.url_to_fs(url, use_listings_cache=False)
    found[0].invalidate_cache()
    if "@" in url:  # the client writes whole addresses to its log for debugging
        logging.getLogger("fsspec").setLevel(logging.INFO)
        logging.getLogger("fsspec.http").setLevel(logging.INFO)
    return found


def _with_stamps(system: Any, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Ask for each object by itself where a listing has only names, as that of a web server."""
    bare = [name for name, info in found.items() if not any(info.get(key) for key in (*_TAGS, *_TIMES))]
    with ThreadPoolExecutor(_THREADS) as pool:
        return found | dict(zip(bare, pool.map(system.info, bare), strict=True))


def _below(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{unescape_name(name).decode()}"


def _object(name: str, info: dict[str, Any]) -> SourceObject:
    nbytes = info.get("size")
    stamp = digest_of(str(nbytes), *(str(info.get(key, "")) for key in (*_TAGS, *_TIMES)))
    return SourceObject(name=name, nbytes=int(nbytes) if nbytes is not None else -1, stamp=stamp)


def _require_allowed(url: str) -> None:
    protocol = url.partition("://")[0].lower()
    if protocol not in _PROTOCOLS or "::" in url:
        raise SampleError("unsafe_name", f"addresses of the kind {protocol!r} are not read")


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Class the faults of a client. Nothing of its own words is passed on: they hold the whole address."""
    try:
        yield
    except MmpipeError:
        raise
    except Exception as error:  # the clients of fsspec share no class of errors
        fault = _classed(clean_url(url), error)
        if fault is None:
            raise
        raise fault from None


def _classed(where: str, error: Exception) -> MmpipeError | None:
    """Return what a client's fault means, None for one of our own."""
    kind = f"{type(error).__module__}.{type(error).__name__}"
    status = getattr(error, "status", None) or getattr(error.__cause__, "status", None)
    if status is not None and (status >= 500 or status in (408, 429)):
        return TransientError(f"{where}: the server answers {status}. Nothing is lost: run again.")
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return SampleError("unreadable", f"{where}: nothing is there")
    if isinstance(error, PermissionError):
        return SampleError("unreadable", f"{where}: access is refused")
    if isinstance(error, ImportError):
        name = error.name or getattr(error.__cause__, "name", None)
        package = f"the package {name!r}" if name else "a package for its protocol"
        return ConfigError(f"{where} needs {package}, which is not installed.")
    if isinstance(error, ValueError):
        return ConfigError(f"{where}: no place that can be read ({kind}); use a URL such as s3://bucket/prefix")
    if isinstance(error, TypeError | AttributeError | KeyError | IndexError):
        return None
    if "Credentials" in kind:
        return ConfigError(f"{where}: no credentials for it. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if status is not None and status >= 400:
        return SampleError("unreadable", f"{where}: the server answers {status}")
    return TransientError(f"{where}: the source did not answer ({kind}). Nothing is lost: run again.")
