"""Remember what a file was found to be, so that an unchanged file is not opened again.

This is a cache in `_runs/`, as git's index is: it may be deleted at any time, and a file whose size, time stamps or
inode differ, or which was written while it was read, is probed anew. The stamp that counts is the change time: the
modification time can be set back by whoever writes in place.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from mmpipe.io import make_directory, remove_file
from mmpipe.media.probe import ProbedFile
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.store.layout import StoreLayout
from mmpipe.types import RawFile

RACE_NS = 50_000_000  # coarser than any file system's clock: a file this fresh may change without showing it
_SCHEMA = {
    "name": pl.String,
    "nbytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "inode": pl.Int64,
    "ctime_ns": pl.Int64,
    "settings": pl.String,
    "probe": pl.String,
}
_STAMPS = tuple(field.name for field in fields(RawFile))  # a row without one of them is of an older mmpipe: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What is known of the files of a corpus under the same settings."""

    probes: Mapping[RawFile, ProbedFile]

    def known(self, file: RawFile) -> ProbedFile | None:
        """Return what an unchanged file was found to be."""
        return self.probes.get(file)


def is_fresh(file: RawFile, started_ns: int) -> bool:
    """Say whether a file was written so short before a scan that it may yet change without showing it."""
    return file.mtime_ns >= started_ns - RACE_NS


def scan_path(layout: StoreLayout, corpus: str) -> Path:
    """Return where it lies for a corpus."""
    return layout.runs / f"scan-{corpus}.parquet"


def read_scan(path: Path, settings: str) -> Scan:
    """Read the cache; one that is absent, damaged or made under other settings is empty."""
    try:
        table = pl.read_parquet(path).filter(pl.col("settings") == settings)
        probes = {
            RawFile(**{name: row[name] for name in _STAMPS}): decode(ProbedFile, row["probe"].encode())
            for row in table.iter_rows(named=True)
        }
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError):
        return Scan(probes={})
    return Scan(probes=probes)


def forget_in_scan(path: Path, files: Iterable[str], digests: Iterable[str]) -> None:
    """Drop the rows of some files, and of every file that holds a stream with one of these digests."""
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        return
    except (OSError, pl.exceptions.PolarsError):
        remove_file(path)  # damaged, and a cache
        return
    speaks = pl.col("name").is_in(sorted(files))
    for digest in digests:
        speaks |= pl.col("probe").str.contains(digest, literal=True)
    _replace(path, table.filter(~speaks))


def write_scan(path: Path, settings: str, probes: Iterable[tuple[RawFile, ProbedFile]], started_ns: int) -> None:
    """Write the cache, leaving out files that were too fresh when the scan started."""
    rows = [
        asdict(file) | {"settings": settings, "probe": encode(ProbedFile, probed).decode()}
        for file, probed in probes
        if not is_fresh(file, started_ns)
    ]
    make_directory(path.parent)
    _replace(path, pl.DataFrame(rows, schema=_SCHEMA))


def _replace(path: Path, table: pl.DataFrame) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    table.write_parquet(temporary)
    temporary.replace(path)
