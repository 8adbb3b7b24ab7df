"""The plots that a published version of a model carries."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.config import Config
from mmpipe.registry.versions import pick_version
from mmpipe.store.layout import open_store

PREFIX, SUFFIX = "plot-", ".svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture, by what it shows."""

    name: str
    svg: bytes


def read_plots(config: Config, model: str, version: str) -> tuple[Plot, ...]:
    """Return the plots of a version, in order of their names."""
    published = pick_version(open_store(config.store).models, model, version)
    names = sorted(name for name in published.files() if name.startswith(PREFIX) and name.endswith(SUFFIX))
    return tuple(Plot(name=_plain(name), svg=published.read(name)) for name in names)


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX).removesuffix(SUFFIX).replace("-", " ")
