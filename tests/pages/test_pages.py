"""Every command, program and table of every page, done as it stands. How to write a page: see pages.py beside this."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pages import (
    DOCS,
    OTHER_KINDS,
    README,
    REPOSITORY,
    RUN_BY,
    RUN_KINDS,
    Block,
    Done,
    blocks_of,
    do_page,
    name_of,
    pages,
    parse_line,
)

from docs.site import generated_pages
from mmpipe.cli.main import app

if TYPE_CHECKING:
    from lent_engine import KeptEngine

BLOCKS = [block for page in pages() for block in blocks_of(page)]
LINES = [(block, line) for block in BLOCKS if block.kind == "sh" for line in block.lines]
OWN_TEST = {name_of(page): found.group(1) for page in pages() if (found := RUN_BY.search(page.read_text("utf-8")))}
(TRANSCRIPT,) = [block for block in blocks_of(README) if block.kind == "text"]
GENERATED = {DOCS / name for name in generated_pages()}
PAGES = [
    page
    for page in pages()
    if name_of(page) not in OWN_TEST
    and page != DOCS / "tutorial.md"
    and any(block.kind in RUN_KINDS and not block.not_run for block in blocks_of(page))
]


def test_every_block_is_of_a_kind_that_somebody_runs() -> None:
    wrong = [block.place for block in BLOCKS if block.kind not in (*RUN_KINDS, *OTHER_KINDS)]
    assert not wrong, f"a block is one of {RUN_KINDS + OTHER_KINDS}: {wrong}"


def test_every_line_is_a_command_of_ours_or_says_why_it_is_not_run() -> None:
    wrong = [
        (block.place, line) for block, line in LINES if not block.not_run and not line.startswith(("mmpipe ", "./run "))
    ]
    assert not wrong, "begin it with `mmpipe`, or put `<!-- not run: why -->` before the block"


@pytest.mark.parametrize("page", OWN_TEST)
def test_a_page_with_a_test_of_its_own_has_it(page: str) -> None:
    test = REPOSITORY / OWN_TEST[page]
    assert test.is_file() and Path(page).name in test.read_text("utf-8")


@pytest.mark.parametrize(
    "place,line", [(block.place, line) for block, line in LINES if line.startswith("mmpipe ")], ids=lambda text: text
)
def test_a_line_is_understood(place: str, line: str) -> None:
    parse_line(app, line)


def test_the_commands_of_the_script_exist() -> None:
    script = (REPOSITORY / "run").read_text("utf-8")
    for page in pages():
        for command in set(re.findall(r"\./run ([a-z]+)", page.read_text("utf-8"))):
            assert re.search(rf"^\s+{command}\)", script, re.MULTILINE), (page, command)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "toml"], ids=lambda block: block.place)
def test_a_table_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text), block.place


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Inside of the repository: a file, and the heading in it. Of others only those that are listed."""
    for link in re.findall(r"(?<!`)\]\(([^)\s]+)\)", page.read_text("utf-8")):
        assert not re.match(r"[a-z]+://", link), f"{page} leads out of the repository: {link}"
        file, _, heading = link.partition("#")
        target = (page.parent / file) if file else page
        if target.resolve() in GENERATED:
            continue  # the site makes it
        assert target.exists(), (page, link)
        if heading:
            assert heading in headings_of(target), (page, link)


def headings_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    return {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    }


@pytest.mark.slow
def test_the_tutorial_ends_with_a_released_model(tutorial: Done) -> None:
    store = tutorial.folder / "store"
    assert list((store / "models" / "street-event" / "versions").iterdir()) and list((store / "reports").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_does_what_it_says(page: Path, project: Path, _kept_engine: KeptEngine) -> None:
    with _kept_engine.lent():
        do_page(page, project)


@pytest.mark.slow
def test_the_transcript_is_what_was_said(tutorial: Done) -> None:
    """Line by line; numbers and digests may be others."""
    said: set[str] = set()
    for line in TRANSCRIPT.text.splitlines():
        if line.startswith("$ "):
            told = [told for typed, told in tutorial.typed if typed == line.removeprefix("$ ")]
            assert told, f"the tutorial does not type {line}"
            said = {shape(line) for one in told for line in (one.out + one.err).splitlines()}
        elif line.strip() and line != "...":
            assert shape(line) in said, (line, said)


def shape(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"@\d+-[0-9a-f]{8}", "@V", " ".join(line.split()))
    return re.sub(r"-?\d+(?:\.\d+)?", "0", line.replace("+", ""))
