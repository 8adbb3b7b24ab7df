"""The pages of the documentation as their blocks, and what a reader of them would do: every block is run.

How to write a page (docs/**/*.md, README.md), so that the tests do what it says:

- ```` ```sh ````: lines of `mmpipe VERB ...`, typed one after the other in a project's folder; a line may go on in
  the next one behind a backslash, and `# ...` is a comment. It must end with 0, or with a code that its comment names
  as in `# exit 4: refused`. A line `./run COMMAND` is not typed; that the script has it is checked.
- ```` ```python ````: a whole program, run in the project's folder. One without `import mmpipe` runs with mmpipe out of
  reach.
- ```` ```toml ````: laid over the project's `mmpipe.toml`, table by table, for the rest of the page.
- ```` ```text ````, ```` ```json ````: what is printed; not run.
- ```` ```sh title="server" ````: needs a Prefect server. Only the runbook has these, and a test of its own.
- `<!-- not run: why -->` on the line before a block leaves that block out. The reason must be there. Its lines of
  `mmpipe` are still held against the parser, so that a verb or option that is gone is found.
- `<!-- run by tests/pages/test_NAME.py -->` anywhere: this page has a test of its own, which does more.

Every page begins with the same project, a copy of its own, so that none can hurt another:

- `street/`: 48 films of a second with sound and captions (`scene-000.mp4` ... `scene-047.mp4` and `.txt`; in
  `labels.jsonl` the columns id, event, mood, rolls, room), and two files that cannot be used;
- `mmpipe.toml`, as `mmpipe init --corpus street` writes it: corpus `street`, model `street-event`;
- `store/` after the tutorial's night of 2026-11-20: audio-logmel@1, audio-mfccseg@1, image-hogdct@1, text-ngrams@1,
  video-hogdct@1, and `street-event@1` in production.

Keep a page under some seconds: no second training where it can be left out. `docs/tutorial.md` itself begins with
nothing but `street/`: typing it is what makes this project.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from typed_projects import Told, type_words

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
RUN_KINDS = ("sh", "python", "toml")
OTHER_KINDS = ("text", "json", "sh server")
NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\n\s*$")
RUN_BY = re.compile(r"<!-- run by (tests/\S+\.py) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str
    not_run: str = ""

    @property
    def lines(self) -> list[str]:
        """Return the lines to type, each whole."""
        whole = re.sub(r"\\\n\s*", "", self.text)
        return [line.strip() for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The tutorial, done: the project that came of it, and what each line said."""

    folder: Path
    typed: list[tuple[str, Told]]


def pages() -> list[Path]:
    """Return every page that a person reads."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, from the top; those within a list or a tab are indented."""
    text = page.read_text("utf-8")
    found = []
    for match in re.finditer(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, re.M | re.S):
        indent, kind, body = match.groups()
        skipped = NOT_RUN.search(text[: match.start()])
        found.append(
            Block(
                page=name_of(page),
                line=text.count("\n", 0, match.start()) + 1,
                kind=kind.replace('title="server"', "server").strip(),
                text=re.sub(rf"^{indent}", "", body, flags=re.M),
                not_run=skipped.group(1) if skipped else "",
            )
        )
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def codes_of(line: str) -> set[int]:
    """Return the exit codes that a line may end with."""
    return {0, *map(int, re.findall(r"exit (\d+)", line))}


def parse_line(app: typer.Typer, line: str) -> None:
    """Hold a line against the parser: every verb and option is there, every value has its form; nothing is run."""
    typed = words_of(line)[1:]
    words = [word for word in typed if word != "--help"]
    command = typer.main.get_command(app)
    context = command.make_context("mmpipe", list(words), resilient_parsing=True)
    while words and hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(context, words)
        assert command is not None, line
        if hasattr(command, "resolve_command"):
            context = command.make_context(command.name, list(words), parent=context, resilient_parsing=True)
    if "--help" not in typed:
        assert not hasattr(command, "resolve_command"), f"a verb is missing: {line}"
        command.make_context(command.name, list(words), parent=context)


def laid_over(config: Mapping[str, Any], edit: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with an edit laid over it, table by table."""
    merged = dict(config)
    for key, value in edit.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def as_toml(config: Mapping[str, Any]) -> str:
    """Return a config as TOML, a line for each key of the top."""
    return "\n".join(f"{json.dumps(key)} = {_inline(value)}" for key, value in config.items()) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)


def do_page(page: Path, folder: Path) -> list[tuple[str, Told]]:
    """Do all that a page tells its reader to do, from the top; return what was typed, and what was said."""
    return [
        told
        for block in blocks_of(page)
        if not block.not_run and block.kind in RUN_KINDS
        for told in do_block(block, folder)
    ]


def do_block(block: Block, folder: Path) -> list[tuple[str, Told]]:
    """Do one block in a project's folder."""
    typed = []
    if block.kind == "toml":
        config = folder / "mmpipe.toml"
        written = tomllib.loads(config.read_text("utf-8"))
        config.write_text(as_toml(laid_over(written, tomllib.loads(block.text))), "utf-8")
    elif block.kind == "python":
        run_program(block, folder)
    else:
        for line in block.lines:
            if line.startswith("mmpipe "):
                told = type_words(folder, words_of(line)[1:])
                assert told.code in codes_of(line), (block.place, line, told.code, told.out, told.err)
                assert told.out.strip() or told.err.strip(), (block.place, line)
                typed.append((line.partition("#")[0].strip(), told))
    return typed


def run_program(block: Block, folder: Path) -> None:
    """Run a program in this process; where it does not ask for mmpipe, without mmpipe."""
    with (
        in_folder(folder),
        contextlib.nullcontext() if "import mmpipe" in block.text else without_mmpipe(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of other people's libraries
        exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})


@contextlib.contextmanager
def without_mmpipe() -> Iterator[None]:
    """Put mmpipe out of reach of an import; what is imported meanwhile stays."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "mmpipe"}
    sys.modules.update(dict.fromkeys(ours))  # type: ignore[arg-type] # None: an import fails
    try:
        yield
    finally:
        sys.modules.update(ours)


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
