"""The page of a flow run: one table and one summary, published also when the run fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from mmpipe.errors import MmpipeError
from mmpipe.steps.markdown import as_block


class Report(Protocol):
    """What a step returns."""

    def summary(self) -> str:
        """Return a few lines of Markdown."""

    def table(self) -> list[dict[str, Any]]:
        """Return rows of plain values."""


class RunPage:
    """Gathers what the steps of one run report."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        self.rows: list[dict[str, Any]] = []

    def add(self, stage: str, report: Report) -> None:
        """Take in a step's report."""
        self.note(stage, report.summary())
        self.rows.extend({"stage": stage, **row} for row in report.table())

    def note(self, stage: str, text: str) -> None:
        """Take in a few lines of Markdown."""
        self.sections.append(f"## {stage}\n\n{text.strip()}")


@contextmanager
def run_page(*names: str) -> Iterator[RunPage]:
    """Open the page of a run and publish it at the end, whatever the end is."""
    page = RunPage()
    try:
        yield page
    except MmpipeError as error:
        page.sections.append(f"## failed\n\n{as_block(str(error))}")  # it may quote names of files
        raise
    finally:
        key = artifact_key(*names)
        create_table_artifact(key=f"{key}-table", table=rectangular(page.rows), description=f"Steps of {key}")
        create_markdown_artifact(key=f"{key}-summary", markdown="\n\n".join(page.sections) or "Nothing was done.")


def artifact_key(*names: str) -> str:
    """Return the key under which a page is found: the only letters that Prefect takes there."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(names).lower()).strip("-")


def rectangular(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give every row the columns of all: the UI takes the header from the first."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column, "") for column in columns} for row in rows]
