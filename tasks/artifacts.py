"""The page of a flow run: gathered while its tasks work, published at its end, also when the run fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from mmpipe.errors import MmpipeError
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.ground.markdown import as_block
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.plan.plan import ShardDue, ShardState
from mmpipe.steps.quarantine.quarantine_reasons import ReasonCount
from mmpipe.steps.release.published_plots import Plot
from mmpipe.steps.release.release import ReleaseReport
from mmpipe.steps.speed.speed_shown import speed_rows
from tasks.lineage import below_flow_run
from tasks.page.bars import MovingBars
from tasks.page.door import Artifact, ArtifactDoor, Kind, ServerDoor, table_data
from tasks.page.keys import artifact_key
from tasks.page.links import plots_markdown, report_markdown
from tasks.page.publisher import Publisher
from tasks.page.tables import (
    BatchShown,
    batch_shown,
    evaluation_shown,
    ledger_rows,
    plain_row,
    rectangular,
)

MOST_NOTES = 10  # of a stage; its table has all
MOST_ROWS = 1_000  # of a table: a row for each day of the longest backfill


class Report(Protocol):
    """What a step returns."""

    def summary(self) -> str:
        """Return a few lines of Markdown."""

    def table(self) -> list[dict[str, Any]]:
        """Return rows of plain values."""


class RunPage:
    """Gathers what the steps of one run report; its tasks tell it from their threads."""

    def __init__(self, key: str, bars: MovingBars) -> None:
        """Begin with an empty page."""
        self.key, self.bars = key, bars
        self.rows: list[dict[str, Any]] = []  # what a flow adds up itself
        self._notes: dict[str, list[str]] = {}  # by stage
        self._steps: dict[str, list[dict[str, Any]]] = {}
        # By what they are about: a task that is tried again says it again.
        self._batches: dict[tuple[tuple[str, int], ...], BatchShown] = {}
        self._extracted: dict[tuple[tuple[str, int], ...], ExtractReport] = {}
        self._reasons: dict[tuple[str, str, str], ReasonCount] = {}
        self._states: dict[tuple[str, int, str], ShardState] = {}
        self._releases: dict[str, ReleaseReport] = {}
        self._reports: dict[str, Path] = {}
        self._plots: dict[str, tuple[Plot, ...]] = {}

    def add(self, stage: str, report: Report) -> None:
        """Take in a step's report."""
        self.note(stage, report.summary())
        if not isinstance(report, ExtractReport | ReleaseReport):  # these have tables of their own
            self._steps.setdefault(stage, []).extend(report.table())

    def note(self, stage: str, text: str) -> None:
        """Take in a few lines of Markdown."""
        self._notes.setdefault(stage, []).append(text.strip("\n"))

    @contextmanager
    def looking_at(self, what: str) -> Iterator[None]:
        """Read something for the page alone: where that fails, the page says so, and the run goes on."""
        try:
            yield
        except (MmpipeError, OSError) as error:
            self.note(what, as_block(f"could not be shown: {error}"))

    def show_batch(self, number: int, of: int, shards: Sequence[ShardDue], report: ExtractReport) -> None:
        """Take in what became of a batch of shards."""
        places = tuple((due.partition, due.shard) for due in shards)
        self._batches[places], self._extracted[places] = batch_shown(number, of, len(shards), report), report

    def show_quarantine(self, reasons: Iterable[ReasonCount]) -> None:
        """Take in why things were put aside."""
        self._reasons |= {(reason.dt, reason.stage, reason.code): reason for reason in reasons}

    def show_ledger(self, states: Iterable[ShardState]) -> None:
        """Take in the state of shards."""
        self._states |= {(state.partition, state.shard, state.feature): state for state in states}

    def show_release(self, report: ReleaseReport) -> None:
        """Take in what a model is worth."""
        self._releases[report.model] = report

    def show_plots(self, model: str, plots: Iterable[Plot]) -> None:
        """Take in pictures of what a model rests on."""
        self._plots[model] = tuple(plots)

    def show_report(self, path: Path, model: str) -> None:
        """Take in where the report on a night lies."""
        self._reports[model] = path

    def artifacts(self) -> Iterator[Artifact]:
        """Yield all of it as the UI paints it."""
        for name, (description, rows) in self._tables().items():
            if rows:
                yield self._table(name, description, rows)
        yield from self._links()
        yield self._markdown("summary", self._summary(), "What this run did")

    def _tables(self) -> dict[str, tuple[str, Sequence[Mapping[str, Any]]]]:
        """Return the tables by name, with what each is."""
        contenders = [row for report in self._releases.values() for row in evaluation_shown(report)]
        return {
            "table": ("What this run came to", self.rows),
            "shards": ("Shards by batch", [asdict(row) for row in self._batches.values()]),
            "quarantine": ("What was put aside, by reason", [asdict(reason) for reason in self._reasons.values()]),
            "ledger": ("Days x features", ledger_rows(self._states.values())),
            "evaluation": ("What the models are worth on unseen clips", [asdict(row) for row in contenders]),
            "speed": ("How close to what this machine can do", speed_rows(self._extracted.values())),
        } | {artifact_key(stage): (f"What {stage} came to", rows) for stage, rows in self._steps.items()}

    def _summary(self) -> str:
        """Return what was noted, a section a stage."""
        sections = []
        for stage, notes in self._notes.items():
            more = [f"and {len(notes) - MOST_NOTES} more"] if len(notes) > MOST_NOTES else []
            sections.append("\n\n".join([f"## {stage}", *notes[:MOST_NOTES], *more]))
        return "\n\n".join(sections) or "Nothing was done."

    def _links(self) -> Iterator[Artifact]:
        for model, path in self._reports.items():
            about = f"The report on the night{f' and on {model}' if model else ''}"
            yield self._markdown(artifact_key("report", model), report_markdown(path), about)
        for model, plots in self._plots.items():
            if plots:
                yield self._markdown(artifact_key("plots", model), plots_markdown(plots), f"What {model} rests on")

    def _table(self, name: str, description: str, rows: Sequence[Mapping[str, Any]]) -> Artifact:
        left_out = f"; the first {MOST_ROWS:,} of {len(rows):,}" if len(rows) > MOST_ROWS else ""
        data = table_data([plain_row(row) for row in rectangular(rows[:MOST_ROWS])])
        return Artifact(key=f"{self.key}-{name}", kind=Kind.TABLE, data=data, description=description + left_out)

    def _markdown(self, name: str, text: str, description: str) -> Artifact:
        return Artifact(key=f"{self.key}-{name}", kind=Kind.MARKDOWN, data=text, description=description)


_page: ContextVar[RunPage | None] = ContextVar("page", default=None)


@contextmanager
def run_page(
    *names: str, door: ArtifactDoor | None = None, pause: Callable[[float], None] = time.sleep
) -> Iterator[RunPage]:
    """Open the page of a run, for the tasks that it starts too, and publish it at the end, whatever the end is.

    What the library does meanwhile is, in its lineage, a part of the run.
    """
    key = artifact_key(*names)
    publisher = Publisher(door or ServerDoor(), pause=pause)
    page = RunPage(key, MovingBars(publisher, key))
    token, well = _page.set(page), False
    try:
        with below_flow_run():
            yield page
        well = True
    except MmpipeError as error:
        page.note("failed", as_block(str(error)))  # it may quote names of files
        raise
    finally:
        _page.reset(token)
        page.bars.end(well)
        publisher.put_all(page.artifacts())


def open_page() -> RunPage | None:
    """Return the page of the run that this task belongs to; None outside of a flow."""
    return _page.get()


def progress_here(subject: str = "") -> Progress:
    """Return who hears how far a task is: the bars of the run's page, under a name of its own where it has one."""
    page = open_page()
    if page is None:
        return SILENT
    return page.bars.of(subject) if subject else page.bars
