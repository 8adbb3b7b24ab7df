"""A source that another package brings: its objects are named, sized and read under the same guards as all others."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, cast

from pydantic import ValidationError

from mmpipe.config import Table, explain_validation
from mmpipe.errors import ConfigError, MmpipeError, SampleError, TransientError
from mmpipe.io import escape_name, unescape_name
from mmpipe.plugins import Plugin, PluginKind, find_plugin, plugin_names
from mmpipe.sources.origins import Origin, SourceObject


class Source(Protocol):
    """What a source plug-in makes: it says what there is, and opens it; what is in the bytes it does not ask.

    Several threads open objects at once.
    """

    def objects(self) -> Iterable[SourceObject]:
        """Return every object; its name is plain text with `/` between folders, its stamp another for other bytes."""

    def open(self, name: str) -> BinaryIO:
        """Open an object to be read forward, or raise FileNotFoundError; the caller closes it."""


class SourceClass(Protocol):
    """What an entry point must load: the class of the parameters, and a call that makes a source of them."""

    @property
    def Params(self) -> type[Table]:
        """Return the class of the parameters."""

    def __call__(self, params: Any, root: str) -> Source:
        """Make the source of what lies at a root: an absolute path, or a URL."""


def source_names() -> tuple[str, ...]:
    """Return the names of all sources that are installed, sorted."""
    return plugin_names(PluginKind.SOURCE)


def source_params(name: str) -> type[Table]:
    """Return the class of a source's parameters."""
    return _load(_find(name)).Params


def make_source(name: str, options: Mapping[str, Any], root: str) -> Origin:
    """Return a source with the given options, the rest at their defaults; raise ConfigError naming the fault."""
    plugin = _find(name)
    kind = _load(plugin)
    try:
        params = kind.Params(**options)
    except ValidationError as error:
        raise ConfigError(explain_validation(error, f"source.options of {name!r}", kind.Params)) from error
    with _guarding(plugin):
        return _PluggedOrigin(plugin, kind(params, root))


def _find(name: str) -> Plugin:
    plugin = find_plugin(PluginKind.SOURCE, name)
    if plugin is None:
        known = ", ".join(source_names()) or "none"
        raise ConfigError(
            f"no source named {name!r} is installed; there are: {known}. A source of your own is announced by an entry "
            f"point of the group {PluginKind.SOURCE.group}, which this writes: mmpipe new source {name}"
        )
    return plugin


def _load(plugin: Plugin) -> SourceClass:
    found: SourceClass = plugin.load()
    params = getattr(found, "Params", None)
    if not (callable(found) and isinstance(params, type) and issubclass(params, Table)):
        raise ConfigError(f"{plugin.said} is no class with `Params`, a subclass of mmpipe.Table. {plugin.way_out}")
    return found


class _PluggedOrigin:
    """A source behind the guards: its names are escaped here and judged where all are, its faults are classed."""

    def __init__(self, plugin: Plugin, source: Source) -> None:
        self._plugin, self._source = plugin, source

    def objects(self) -> list[SourceObject]:
        """Return every object, sorted by name."""
        with _guarding(self._plugin):
            found = [self._taken(entry) for entry in self._source.objects()]
        return sorted(found, key=lambda entry: entry.name)

    def look(self, name: str) -> SourceObject:
        """Return one object."""
        found = next((entry for entry in self.objects() if entry.name == name), None)
        if found is None:
            raise SampleError("unreadable", f"{name!r}: nothing is there")
        return found

    def open(self, name: str) -> BinaryIO:
        """Open an object."""
        with _guarding(self._plugin, name):
            file = self._source.open(unescape_name(name).decode("utf-8", "surrogateescape"))
        return cast(BinaryIO, _GuardedFile(file, self._plugin, name))

    def _taken(self, entry: Any) -> SourceObject:
        """Take an entry for what it says of itself; nothing of another make goes any further."""
        kinds = {"name": str, "nbytes": int, "stamp": str}
        wrong = [key for key, kind in kinds.items() if not isinstance(getattr(entry, key, None), kind)]
        if wrong or not entry.stamp:
            fault = f"{' and '.join(wrong)} of another type" if wrong else "no stamp"
            said = f"gives an object with {fault}; it must give mmpipe.SourceObject(name=..., nbytes=..., stamp=...)"
            raise ConfigError(f"{self._plugin.said} {said}. {self._plugin.way_out}")
        return SourceObject(name=escape_name(entry.name), nbytes=entry.nbytes, stamp=entry.stamp)


class _GuardedFile(io.RawIOBase):
    """An object being read; whatever the source raises meanwhile is classed."""

    def __init__(self, file: Any, plugin: Plugin, name: str) -> None:
        super().__init__()
        self._file, self._plugin, self._name = file, plugin, name

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _guarding(self._plugin, self._name):
            return bytes(self._file.read(size))

    def close(self) -> None:
        if not self.closed:
            with _guarding(self._plugin, self._name):
                self._file.close()
        super().close()


@contextmanager
def _guarding(plugin: Plugin, name: str = "") -> Iterator[None]:
    """Class what a source raises. Only our own errors keep their words: a client's may hold an address's password."""
    what = f"{name!r}: " if name else ""
    try:
        yield
    except MmpipeError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        if name:
            raise SampleError("unreadable", f"{what}{plugin.said} cannot open it ({type(error).__name__})") from error
        raise ConfigError(
            f"{plugin.said} finds nothing at `root` of the corpus ({type(error).__name__}). Correct `root`."
        ) from error
    except (OSError, EOFError) as error:
        kind = type(error).__name__
        raise TransientError(f"{what}{plugin.said} did not answer ({kind}). Nothing is lost: run again.") from error
    except Exception as error:
        kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
        raise ConfigError(
            f"{what}{plugin.said} failed with {kind}. Ask those who wrote it, with what its own test says."
        ) from error
