"""What the project says of itself on paper: licences, dependencies, changes, and how to work on it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
PINS = dict(
    line.lower().split("==")[:2] for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
)
LICENCES = (REPOSITORY / "docs" / "licences.md").read_text("utf-8")
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")


def packages_asked_for() -> dict[str, set[str]]:
    """Return every package of pyproject.toml, with the extras that ask for it."""
    asked: dict[str, set[str]] = {}
    for extra, texts in {"base": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}.items():
        for text in texts:
            asked.setdefault(re.split(r"[\[<>=~!; ]", text)[0].lower(), set()).add(extra)
    return asked


def test_every_dependency_has_its_reason() -> None:
    text = (REPOSITORY / "docs" / "dependencies.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][1:]
    told = {package: set(where.split(", ")) for package, where, _, _ in rows}
    assert told == packages_asked_for(), "docs/dependencies.md lacks a row, or has one too many"
    assert [row[0] for row in rows if len(row[2]) < 5 or not row[3] or row[3] == "?"] == []


def test_the_licence_is_the_one_that_is_said() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    text = (REPOSITORY / "LICENSE").read_text("utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert set(PROJECT["license-files"]) == {"LICENSE", "NOTICE"}


def test_what_is_said_of_av_is_what_av_says() -> None:
    core = pytest.importorskip("av._core")
    if version("av") != PINS["av"] or sys.platform != "linux":
        pytest.skip("another av than the page is about")
    assert f"| av {PINS['av']} | FFmpeg {core.ffmpeg_version_info} as shared libraries" in LICENCES
    (said,) = {facts["license"] for facts in core.library_meta.values()}
    assert f"`{said}`" in LICENCES
    configured = core.library_meta["libavcodec"]["configuration"].split()
    assert "--enable-gpl" not in configured and {"--enable-version3", "--enable-libx264"} <= set(configured)
    libraries = {path.name.partition("-")[0] for path in (Path(core.__file__).parents[1] / "av.libs").glob("*")}
    assert {"libx264", "libx265", "libmp3lame"} <= libraries
    assert "libx264 and libx265" in LICENCES


def test_what_is_said_of_the_ffmpeg_program_is_what_it_says() -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    if version("imageio-ffmpeg") != PINS["imageio-ffmpeg"]:
        pytest.skip("another imageio-ffmpeg than the page is about")
    program = imageio_ffmpeg.get_ffmpeg_exe()
    if "imageio_ffmpeg" not in program:
        pytest.skip("an ffmpeg of this machine stands before it")
    first = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    licence = subprocess.run([program, "-L"], capture_output=True, text=True, check=True).stdout
    said = re.search(r"ffmpeg version n?(\d+\.\d+\.\d+)", first)
    assert said and f"imageio-ffmpeg {PINS['imageio-ffmpeg']} | one program, `ffmpeg` {said[1]}, static" in LICENCES
    assert "--enable-gpl" in first and "either version 3 of the License" in licence
    assert "**GPL version 3 or later**" in LICENCES


def test_the_changelog_knows_the_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert "## Unreleased" in text and PROJECT["version"] in text


def test_what_contributing_names_is_there() -> None:
    commands = (REPOSITORY / "run").read_text("utf-8")
    for command in re.findall(r"^\./run (\w+)", CONTRIBUTING, re.MULTILINE):
        assert re.search(rf"^ +{command}[ )]", commands, re.MULTILINE), command
    named = re.findall(r"(?<![\w/.])((?:tests|mmpipe|docs|examples|tasks|flows|\.ci)/[\w./-]*\w)", CONTRIBUTING)
    assert len(named) > 10
    for place in named:
        assert (REPOSITORY / place.replace("NAME", "concat")).exists() or "NAME" in place, place


@pytest.mark.slow
def test_the_lines_of_contributing_run() -> None:
    (block,) = re.findall(r"```sh tested\n(.*?)```", CONTRIBUTING, re.DOTALL)
    lines = block.splitlines()
    assert lines
    for line in lines:
        words = line.replace(".venv/bin/python", sys.executable).split()
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout


def test_security_says_what_is_defended_and_what_is_not_and_gives_no_address() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text("utf-8")
    for heading in ("## What is defended, and how", "## What is not defended", "## Report a flaw"):
        assert heading in text
    assert not re.search(r"\S+@\S+\.\w+|https?://", text)
