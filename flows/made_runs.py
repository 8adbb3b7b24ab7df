"""Runs without a server: the door's double, for tests and for whoever wants to see what a parent does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from flows.runs import Child, Run

Ends = Callable[[str, int], str]  # how the so many-th try of a subject ends: Completed, Failed, Crashed, ...


class MadeRuns:
    """The children of one run, in memory; each ends after so many pauses. They outlive every life of the parent."""

    def __init__(
        self,
        ends: Ends = lambda subject, number: "Completed",
        pauses: int = 1,
        leaves: Callable[[str], str] = lambda subject: "",
    ) -> None:
        """Begin without children; `leaves` says which checkpoint a subject leaves."""
        self._ends, self._pauses, self._leaves = ends, pauses, leaves
        self._runs: dict[tuple[str, int], Run] = {}
        self._left: dict[str, int] = {}  # pauses until a run ends
        self.told: dict[str, Child] = {}  # by run: what it was started with

    def children(self) -> tuple[Run, ...]:
        """Return every child that this run started in any of its lives, oldest first."""
        return tuple(self._runs.values())

    def look(self, ids: Collection[str]) -> tuple[Run, ...]:
        """Return how some children are."""
        return tuple(run for run in self._runs.values() if run.id in ids)

    def start(self, child: Child, number: int) -> Run:
        """Start the so many-th try of a child; one that was started already is returned as it is."""
        place = (child.subject, number)
        if place not in self._runs:
            run = Run(id=f"{child.subject}#{number}", subject=child.subject, number=number, state="Running")
            self._runs[place], self._left[run.id], self.told[run.id] = run, self._pauses, child
        return self._runs[place]

    def cancel(self, run: Run) -> None:
        """End a child that lives."""
        if not self._runs[run.subject, run.number].is_over:
            self._end(run, "Cancelled")

    def pause(self) -> None:
        """Let every living child go on; one whose time has come ends."""
        for run in self.children():
            if run.is_over:
                continue
            self._left[run.id] -= 1
            if self._left[run.id] <= 0:
                self._end(run, self._ends(run.subject, run.number))

    def restart(self, run: Run) -> None:
        """Let a child that is over run again under its own id, as "Retry" in the UI does."""
        self._runs[run.subject, run.number] = replace(
            run, state="Running", message="", is_over=False, is_complete=False, is_crashed=False
        )
        self._left[run.id] = self._pauses

    def _end(self, run: Run, state: str) -> None:
        self._runs[run.subject, run.number] = replace(
            run,
            state=state,
            message=f"{run.subject} has ended",
            is_over=True,
            is_complete=state == "Completed",
            is_crashed=state == "Crashed",
            checkpoint=self._leaves(run.subject),
        )
