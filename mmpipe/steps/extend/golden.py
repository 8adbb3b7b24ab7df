"""Replay the golden of an extractor that is known by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmpipe.features.extractor import Extractor
from mmpipe.features.golden import Maker, record_golden, replay_golden
from mmpipe.features.registry import make_extractor


def check_golden(name: str, folder: Path) -> tuple[str, ...]:
    """Return what is wrong with an installed extractor against its golden; nothing where all is as it was."""
    return replay_golden(_maker(name), folder)


def write_golden(name: str, folder: Path, *, dry_run: bool = False) -> Path:
    """Record what an installed extractor gives, and return the file; raise ConfigError where it has one already."""
    return record_golden(_maker(name), folder, dry_run=dry_run)


def _maker(name: str) -> Maker:
    def make(params: Mapping[str, Any]) -> Extractor:
        return make_extractor(name, params)

    return make
