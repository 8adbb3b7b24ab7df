"""Say of a published version, beside it, that something it was trained on was forgotten since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mmpipe.io import canonical_json, make_directory, replace_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What was forgotten, by digest, and why; the version itself stays as it was published."""

    assets: tuple[str, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Say for people what this means."""
        return (
            f"tainted: trained on {len(self.assets)} assets that were forgotten since ({'; '.join(self.reasons)}). "
            "Train and release again."
        )


def mark_version(models_root: Path, name: str, label: str, assets: tuple[str, ...], reason: str) -> None:
    """Mark a version as tainted, beside what marks it already."""
    _mark(models_root / name / "tainted" / f"{label}.json", assets, reason)


def mark_checkpoint(checkpoint: Path, assets: tuple[str, ...], reason: str) -> None:
    """Mark a training's checkpoint as tainted."""
    _mark(checkpoint.parent / f"{checkpoint.name}.tainted.json", assets, reason)


def read_taint(models_root: Path, name: str, label: str) -> Taint | None:
    """Return what a version is tainted with; None where it is not."""
    return _read(models_root / name / "tainted" / f"{label}.json")


def read_checkpoint_taint(checkpoint: Path) -> Taint | None:
    """Return what a checkpoint is tainted with; None where it is not."""
    return _read(checkpoint.parent / f"{checkpoint.name}.tainted.json")


def _mark(path: Path, assets: tuple[str, ...], reason: str) -> None:
    before = _read(path) or Taint(assets=(), reasons=())
    make_directory(path.parent)
    table = {"assets": sorted({*before.assets, *assets}), "reasons": sorted({*before.reasons, reason})}
    replace_bytes(path, canonical_json(table))


def _read(path: Path) -> Taint | None:
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return Taint(assets=tuple(table["assets"]), reasons=tuple(table["reasons"]))
