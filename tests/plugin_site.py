"""Folders that are for Python what installed packages are, without an installer: a module and its metadata."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path


def install(site: Path, package: Path) -> None:
    """Put a package of one module into a site folder, as its own pyproject says."""
    table = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    for file in table["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        site.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / file, site / file)
    announce(site, table["project"]["name"], table["project"]["entry-points"], table["project"]["version"])


def announce(site: Path, name: str, entries: Mapping[str, Mapping[str, str]], version: str = "1.0") -> None:
    """Write the metadata of a package: groups of entry points, name to place."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    sections = [
        "\n".join([f"[{group}]", *(f"{key} = {place}" for key, place in of.items())]) for group, of in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
