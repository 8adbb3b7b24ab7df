"""Packages that bring an extractor, a fusion or a source: found by entry points, imported only when asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mmpipe.errors import ConfigError, MmpipeError


class PluginKind(StrEnum):
    """What a package may bring."""

    EXTRACTOR = "extractor"
    FUSION = "fusion"
    SOURCE = "source"

    @property
    def group(self) -> str:
        """Return the group of the entry points that announce it."""
        return f"mmpipe.{self}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One announcement: what a package calls it, and where in the package it is."""

    kind: PluginKind
    name: str
    package: str  # with its version
    entry: EntryPoint

    @property
    def said(self) -> str:
        """Return whose it is, for a person."""
        return f"the {self.kind} {self.name!r} of the package {self.package} ({self.entry.value})"

    def load(self) -> Any:
        """Import it; raise ConfigError that names the package where that fails, whatever its code does."""
        try:
            return self.entry.load()
        except MmpipeError as error:
            raise ConfigError(f"{self.said} cannot be loaded: {error}") from error
        except (Exception, SystemExit) as error:
            fault = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ConfigError(f"{self.said} cannot be loaded: {fault}. {self.way_out}") from error

    @property
    def way_out(self) -> str:
        """Return what a person does about a plug-in that is not what it must be."""
        return f"Mend it, or remove it: pip uninstall {self.package.partition(' ')[0]}"


def plugin_names(kind: PluginKind) -> tuple[str, ...]:
    """Return the names that installed packages announce, sorted; nothing is imported."""
    return tuple(sorted(_announced(kind, tuple(sys.path))))


def find_plugin(kind: PluginKind, name: str, *, is_built_in: bool = False) -> Plugin | None:
    """Return what announces a name, None where nothing does; raise ConfigError where it is not the only one."""
    found = _announced(kind, tuple(sys.path)).get(name, ())
    if is_built_in and found:
        raise ConfigError(
            f"{found[0].said} has the name of a built-in one, which nothing replaces. "
            f"Have its package announce another name, or remove it: pip uninstall {_bare(found[0])}"
        )
    if len(found) > 1:
        packages = ", ".join(f"{one.package} ({one.entry.value})" for one in found)
        raise ConfigError(
            f"the {kind} {name!r} is announced more than once: by {packages}. "
            f"Remove all but one: pip uninstall {_bare(found[-1])}"
        )
    return found[0] if found else None


def _bare(plugin: Plugin) -> str:
    return plugin.package.partition(" ")[0]


@lru_cache(maxsize=8)
def _announced(kind: PluginKind, path: tuple[str, ...]) -> Mapping[str, tuple[Plugin, ...]]:
    """Read the metadata of all packages on a path: some hundred files, so once."""
    found: dict[str, tuple[Plugin, ...]] = {}
    for entry in entry_points(group=kind.group):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"
        plugin = Plugin(kind=kind, name=entry.name, package=package, entry=entry)
        found[entry.name] = (*found.get(entry.name, ()), plugin)
    return found
