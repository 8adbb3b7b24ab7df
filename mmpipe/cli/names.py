"""What a shell offers for a name: of the config and of the store's folders, read without importing anything heavy."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CONFIG = "mmpipe.toml"


def corpora(incomplete: str) -> list[str]:
    """Return the corpora of the config."""
    return _beginning_with(incomplete, _tables(_config(), "corpora"))


def models(incomplete: str) -> list[str]:
    """Return the models of the config, and those that are published."""
    config = _config()
    return _beginning_with(incomplete, [*_tables(config, "models"), *_folders(_store(config) / "models")])


def features(incomplete: str) -> list[str]:
    """Return the features that the config names, and those that the store has."""
    config = _config()
    named = [name for table in _tables(config, "corpora").values() for name in table.get("features", ())]
    stored = [
        folder.partition("@")[0]
        for corpus in _tables(config, "corpora")
        for folder in _folders(_store(config) / corpus)
        if "@" in folder
    ]
    return _beginning_with(incomplete, [*named, *_tables(config, "features"), *stored])


def snapshots(incomplete: str) -> list[str]:
    """Return the names of snapshots."""
    folder = _store(_config()) / "snapshots" / "names"
    return _beginning_with(incomplete, (path.stem for path in _children(folder)))


def _config() -> Mapping[str, Any]:
    """Return the config of this folder as it stands; nothing where there is none, or where it cannot be read."""
    try:
        return tomllib.loads(Path(os.environ.get("MMPIPE_CONFIG") or _CONFIG).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _tables(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _store(config: Mapping[str, Any]) -> Path:
    """Return the folder of the store, also where it is elsewhere: then nothing is found in it."""
    beside = Path(os.environ.get("MMPIPE_CONFIG") or _CONFIG).parent
    return beside / str(config.get("store", "store"))


def _folders(folder: Path) -> list[str]:
    return [path.name for path in _children(folder) if path.is_dir()]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _beginning_with(incomplete: str, names: Iterable[object]) -> list[str]:
    return sorted({str(name) for name in names if str(name).startswith(incomplete)})
