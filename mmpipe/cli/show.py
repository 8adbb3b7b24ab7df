"""How results and progress look on a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mmpipe.steps.ground.progress import Pace

_LINE_EVERY_S = 5.0  # between two plain lines of one stage
_BIDI = {0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069}


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, title: str = "") -> None:
    """Print rows as a table, or as one JSON list."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        print_text(f"{title}: none" if title else "none")
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        numeric = all(isinstance(row.get(column, 0), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(row.get(column, ""))) for column in columns))
    _console().print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that nothing in it can steer a terminal; not-a-number has no place in it."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False, default=str) + "\n")


def print_notes(notes: Iterable[str]) -> None:
    """Print lines beside a result to stderr."""
    for note in notes:
        typer.echo(plain(note), err=True)


def print_text(text: str) -> None:
    """Print plain text; control characters in it are shown, not obeyed."""
    for line in text.split("\n"):
        _console().print(Text(plain(line)), soft_wrap=True)


def plain(value: object) -> str:
    """Return a value as text that cannot steer a terminal."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(
        character if character.isprintable() and ord(character) not in _BIDI else f"\\x{ord(character):02x}"
        for character in str(value)
    )


class _Console(Console):
    """A console that leaves it to `main` what a reader who went away means."""

    def on_broken_pipe(self) -> None:
        """Let the error through; rich would end the process with 1."""
        raise BrokenPipeError


def _console() -> Console:
    # A file or a pipe has no width: a name that is folded there could not be searched for.
    return _Console(file=sys.stdout, highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000)


class _Rows(Progress):
    """Bars, and under them what was last said: a line of its own, so that long words move nothing."""

    said = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the rows, from the top."""
        yield from super().get_renderables()
        if self.said:
            yield Text(self.said, no_wrap=True, overflow="ellipsis", style="dim")


class Bars:
    """Progress bars on stderr; plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        """Draw nothing before a stage starts."""
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._progress: _Rows | None = None
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}
        self._said_s: dict[str, float] = {}  # when the last plain line of a stage was printed

    def __enter__(self) -> Bars:
        """Take the terminal."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._progress = _Rows(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[pace]}"),
                console=self._console,
                transient=False,
            )
            self._progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        """Give the terminal back."""
        if self._progress:
            self._progress.said = ""
            self._progress.stop()

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        now_s = time.monotonic()
        self._paces[stage], self._said_s[stage] = Pace(total=total, started_s=now_s), now_s
        if self._progress:
            self._progress.said = ""
            self._tasks[stage] = self._progress.add_task(stage, total=total, pace="")
        else:
            self._console.print(f"{stage}: {total} to do")

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Move a stage's bar."""
        pace = self._paces.get(stage)
        if pace is None:
            return
        now_s = time.monotonic()
        pace.done += units
        if self._progress:
            self._progress.said = plain(note) or self._progress.said
            self._progress.update(self._tasks[stage], advance=units, pace=pace.told(now_s))
        elif now_s - self._said_s[stage] >= _LINE_EVERY_S:
            self._said_s[stage] = now_s
            told = (f"{pace.done} of {pace.total}", pace.told(now_s), plain(note))
            self._console.print(f"{stage}: " + ", ".join(part for part in told if part), soft_wrap=True)
