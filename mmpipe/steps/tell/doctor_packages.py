"""Check what is installed beside mmpipe, and the room that it has."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mmpipe.errors import MmpipeError
from mmpipe.words import counted

LOW_SPACE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Versions of a package that were seen to work: from, and up to but without."""

    package: str
    first: tuple[int, ...]
    end: tuple[int, ...]
    otherwise: str  # what happens with others


# What pip would take by itself, and which breaks without a word.
BOUNDS = (
    Bounds(package="prefect", first=(3, 8, 8), end=(3, 9), otherwise="nothing here was tried with it"),
    Bounds(package="fastapi", first=(0, 139), end=(0, 140), otherwise="every flow dies at its start"),
    Bounds(package="sqlalchemy", first=(2, 0, 45), end=(2, 1), otherwise="no scheduled run is ever made"),
)


def check_packages(bounds: tuple[Bounds, ...] = BOUNDS) -> tuple[str, str, str]:
    """Compare the versions of what Prefect stands on with those that work."""
    found, faults = [], []
    for bound in bounds:
        try:
            installed = version(bound.package)
        except PackageNotFoundError:
            return "packages", "weak", f"{bound.package} is not installed: no flows here; install mmpipe[pipeline]"
        found.append(f"{bound.package} {installed}")
        if not bound.first <= numbers_of(installed) < bound.end:
            faults.append(f"{bound.package} {installed}: {bound.otherwise}")
    if faults:
        return "packages", "wrong", f"{'; '.join(faults)}. Install what constraints.txt pins"
    return "packages", "ok", ", ".join(found)


def numbers_of(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", text).group().split("."))  # type: ignore[union-attr]


def check_ffmpeg() -> tuple[str, str, str]:
    """Find the program that renders previews; features are made without it."""
    from mmpipe.media.ffmpeg import find_ffmpeg

    try:
        return "ffmpeg", "ok", find_ffmpeg()
    except MmpipeError as error:
        return "ffmpeg", "weak", f"{error}"


def check_zone(timezone: str) -> tuple[str, str, str]:
    """Look whether the time zone of the config is known here: it decides the date of a night."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        return "time zone", "wrong", f"{timezone} is not known here: install tzdata, or correct `timezone`"
    return "time zone", "ok", str(zone)


def check_prefect_home(environment: Mapping[str, str] = os.environ) -> tuple[str, str, str]:
    """Measure the room for Prefect's own files: its database grows with every run."""
    home = Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect")
    nearest = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    databases = list(_databases(home))
    kept = f", {counted(len(databases), 'database')} of {sum(databases) / 2**20:.0f} MiB" if databases else ""
    state = "ok" if free > LOW_SPACE_BYTES else "weak"
    return "prefect home", state, f"{home}: {free / 2**30:.1f} GiB free{kept}"


def _databases(home: Path) -> Iterator[int]:
    yield from (path.stat().st_size for path in sorted(home.glob("*.db")))
