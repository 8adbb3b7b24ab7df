"""The site: it is built without a warning, asks the network for nothing, and leaves no public name out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import REPOSITORY

import mmpipe
from docs.site import python_page

OUTSIDE = re.compile(r"""(?:src|href|action)=["']?(?:https?:)?//|url\(["']?(?:https?:)?//|@import ["'](?:https?:)?//""")


@pytest.mark.slow
def test_it_is_built_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mmpipe[docs] is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for file in [*pages, *(tmp_path / "site").rglob("*.css")]:
        found = OUTSIDE.search(file.read_text("utf-8"))
        assert not found, (file, found)
    told = (tmp_path / "site" / "reference" / "cli.html").read_text("utf-8")
    assert "mmpipe quarantine release" in told and "--dry-run" in told
    assert "corpora.NAME.limits" in (tmp_path / "site" / "reference" / "config.html").read_text("utf-8")
    assert not list((tmp_path / "site").rglob("*.py"))


def test_every_public_name_has_its_place_in_the_reference() -> None:
    told = re.findall(r"^::: (\S+)$", python_page(), re.M)
    wanted = {f"{home}.{name}" for name, home in mmpipe._HOMES.items()}
    assert sorted(told) == sorted(wanted)
