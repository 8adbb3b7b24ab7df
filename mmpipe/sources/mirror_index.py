"""What a mirror has of which part of its source: a cache beside the mirrored files, made anew where it is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mmpipe.io import make_directory
from mmpipe.types import Drop

_SCHEMA = {"origin": pl.String, "stamp": pl.String, "files": pl.String, "drops": pl.String, "hidden": pl.String}


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What came of one part of a source: an archive, an object, or a cell of a table."""

    stamp: str  # of the part when it was brought; "" where it is to be tried again
    files: tuple[str, ...] = ()  # escaped names below the mirror
    drops: tuple[Drop, ...] = ()
    hidden: tuple[str, ...] = ()  # members that are left out by rule, as hidden files are


def read_index(path: Path) -> dict[str, Brought]:
    """Return what was brought, by origin; nothing where the index is absent or damaged."""
    try:
        rows = pl.read_parquet(path).iter_rows(named=True)
        return {
            row["origin"]: Brought(
                stamp=row["stamp"],
                files=tuple(json.loads(row["files"])),
                drops=tuple(Drop(**drop) for drop in json.loads(row["drops"])),
                hidden=tuple(json.loads(row["hidden"])),
            )
            for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        return {}


def write_index(path: Path, brought: Mapping[str, Brought], temporary: Path) -> None:
    """Replace the index by way of a temporary name on the same file system."""
    rows = [
        {
            "origin": origin,
            "stamp": one.stamp,
            "files": json.dumps(one.files),
            "drops": json.dumps([_said(drop) for drop in one.drops]),
            "hidden": json.dumps(one.hidden),
        }
        for origin, one in sorted(brought.items())
    ]
    make_directory(temporary.parent)
    pl.DataFrame(rows, schema=_SCHEMA).write_parquet(temporary)
    temporary.replace(path)


def _said(drop: Drop) -> dict[str, str]:
    return {"stage": drop.stage, "code": drop.code, "detail": drop.detail, "file": drop.file}
