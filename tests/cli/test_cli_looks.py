"""One look of errors over all verbs, and colours only where somebody wants them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typed_projects import Type

from mmpipe.cli.lazy import leaves_of
from mmpipe.cli.main import app

LEAVES = [words for words, _ in leaves_of(typer.main.get_command(app))]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_a_wrong_line_is_told_in_the_same_words_by_every_verb(
    tmp_path: Path, mmpipe: Type, words: tuple[str, ...]
) -> None:
    told = mmpipe(tmp_path, *words, "--jsno")
    assert told.code == 2 and not told.out
    said, way_out = told.err.splitlines()
    assert said.startswith("error: No such option: --jsno.")
    assert way_out == f"What it takes: mmpipe {' '.join(words)} --help"


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("stauts", "No such command 'stauts'. Did you mean 'status'?"),
        ("modles ls", "No such command 'modles'. Did you mean 'models'?"),
        ("models promot x", "No such command 'promot'. Did you mean 'promote'?"),
        ("ls --jsno", "No such option: --jsno. Did you mean --json?"),
        ("run --dry", "No such option: --dry. Did you mean --dry-run or --dt?"),
        ("show", "Missing argument 'key'."),
    ],
)
def test_what_was_nearly_right_is_named(tmp_path: Path, mmpipe: Type, line: str, near: str) -> None:
    assert mmpipe(tmp_path, *line.split()).err.startswith(f"error: {near}\nWhat it takes: mmpipe ")


def on_a_terminal(folder: Path, *words: str, **environment: str) -> str:
    """Return what a line draws on a terminal."""
    ours, theirs = os.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    child = subprocess.Popen(
        [sys.executable, "-m", "mmpipe.cli", *words],
        cwd=folder,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    drawn = b""
    try:
        while data := os.read(ours, 65_536):
            drawn += data
    except OSError:  # the other end is closed
        pass
    child.wait(timeout=60)
    os.close(ours)
    return drawn.decode()


COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-7]|9[0-7]|38;[0-9;]+)m")


def test_colours_are_for_a_terminal_that_wants_them(tmp_path: Path) -> None:
    assert COLOUR.search(on_a_terminal(tmp_path, "--help"))
    assert COLOUR.search(on_a_terminal(tmp_path, "ls"))  # the error, for there is no config
    assert not COLOUR.search(on_a_terminal(tmp_path, "--no-color", "ls"))
    assert not COLOUR.search(on_a_terminal(tmp_path, "--help", NO_COLOR="1"))
    dumb = on_a_terminal(tmp_path, "--help", TERM="dumb")
    assert "\x1b" not in dumb and "mmpipe VERB --help" in dumb
