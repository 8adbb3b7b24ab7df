"""Say of a published version, beside it, that something it was trained on was forgotten since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mmpipe.io import canonical_json, make_directory, replace_bytes
from mmpipe.remote import RemotePath, change_object
from mmpipe.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What was forgotten, by digest, and why; the version itself stays as it was published."""

    assets: tuple[str, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Say for people what this means."""
        assets = counted(len(self.assets), "asset", "that were", "that was")
        return f"tainted: trained on {assets} forgotten since ({'; '.join(self.reasons)}). Train and release again."


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
    def add(before: bytes | None) -> bytes:
        taint = Taint(assets=(), reasons=()) if before is None else _parse(before)
        table = {"assets": sorted({*taint.assets, *assets}), "reasons": sorted({*taint.reasons, reason})}
        return canonical_json(table)

    if isinstance(path, RemotePath):
        change_object(path, add)
        return
    make_directory(path.parent)
    replace_bytes(path, add(path.read_bytes() if path.is_file() else None))


def _read(path: Path) -> Taint | None:
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _parse(data: bytes) -> Taint:
    table = json.loads(data)
    return Taint(assets=tuple(table["assets"]), reasons=tuple(table["reasons"]))
