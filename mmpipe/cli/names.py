"""What a shell offers for a name: of the config and of the store's folders, read without importing anything heavy."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CONFIG = "mmpipe.toml"


def corpora(incomplete: str, ctx: Any = None) -> list[str]:
    """Return the corpora of the config."""
    return _beginning_with(incomplete, _tables(_config(_file(ctx)), "corpora"))


def models(incomplete: str, ctx: Any = None) -> list[str]:
    """Return the models of the config, and those that are published."""
    config, store = _config_and_store(ctx)
    return _beginning_with(incomplete, [*_tables(config, "models"), *_folders(store / "models")])


def features(incomplete: str, ctx: Any = None) -> list[str]:
    """Return the features that the config names, and those that the store has."""
    config, store = _config_and_store(ctx)
    listed = [table.get("features") for table in _tables(config, "corpora").values() if isinstance(table, dict)]
    named = [name for names in listed if isinstance(names, list) for name in names]
    stored = [
        folder.partition("@")[0]
        for corpus in _tables(config, "corpora")
        for folder in _folders(store / corpus)
        if "@" in folder
    ]
    return _beginning_with(incomplete, [*named, *_tables(config, "features"), *stored])


def snapshots(incomplete: str, ctx: Any = None) -> list[str]:
    """Return the names of snapshots."""
    _, store = _config_and_store(ctx)
    return _beginning_with(incomplete, (path.stem for path in _children(store / "snapshots" / "names")))


def _config_and_store(ctx: Any) -> tuple[Mapping[str, Any], Path]:
    """Return the config and the folder of its store, also where it is elsewhere: then nothing is found in it."""
    file = _file(ctx)
    config = _config(file)
    return config, file.parent / str(config.get("store", "store"))


def _file(ctx: Any) -> Path:
    """Return the config's file: that of the line as it is typed so far, of the environment, or of this folder."""
    typed = ctx.params.get("config") if ctx else None
    return typed if isinstance(typed, Path) else Path(os.environ.get("MMPIPE_CONFIG") or _CONFIG)


def _config(file: Path) -> Mapping[str, Any]:
    """Return a config as it stands; nothing where there is none, or where it cannot be read."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _tables(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _folders(folder: Path) -> list[str]:
    return [path.name for path in _children(folder) if path.is_dir()]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):  # a name may hold what no path can
        return []


def _beginning_with(incomplete: str, names: Iterable[object]) -> list[str]:
    return sorted({str(name) for name in names if str(name).startswith(incomplete)})
