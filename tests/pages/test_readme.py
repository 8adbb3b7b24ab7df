"""What the README promises: short, one picture, two commands, trees of the files. Its transcript: see test_pages.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import README, REPOSITORY, blocks_of

from docs.tree import BEGIN, END, PAGES
from mmpipe import errors

TEXT = README.read_text("utf-8")


def test_it_is_short_and_has_one_picture_and_two_commands() -> None:
    assert len(TEXT.split(BEGIN)[0].splitlines()) < 100
    assert re.findall(r"!\[[^\]]+\]\((.+?)\)", TEXT) == ["docs/dataflow.svg"]
    (block,) = [block for block in blocks_of(README) if block.kind == "sh"]
    assert [line.split("#")[0].strip() for line in block.lines] == ["./run demo", "./run test"]


@pytest.mark.parametrize("page,tree", PAGES, ids=lambda value: getattr(value, "name", ""))
def test_the_trees_are_those_of_the_files(page: Path, tree: Callable[[], str]) -> None:
    written = page.read_text("utf-8").split(BEGIN)[1].split(END)[0].strip()
    assert written == tree(), "run: ./run docs"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    tutorial = (REPOSITORY / "docs" / "tutorial.md").read_text("utf-8")
    said = {int(code) for code in re.findall(r"^\| (\d+) \|", tutorial, re.M)}
    meant = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert said == meant | {0, 2, 130}
