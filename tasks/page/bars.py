"""Bars that move while shards are made: a listener of the steps, which updates progress artifacts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from uuid import UUID

from mmpipe.steps.ground.markdown import plain_cell
from mmpipe.steps.ground.progress import Pace, Progress
from tasks.page.door import Artifact, Kind
from tasks.page.keys import artifact_key
from tasks.page.publisher import Publisher

EVERY_S = 2.0


@dataclass(slots=True, kw_only=True)
class Bar:
    """How far a stage of a run has come; the batches that make it share it."""

    stage: str
    pace: Pace
    is_expected: bool = False  # the whole is known, so what a batch says of its part adds nothing
    note: str = ""
    moved_s: float = 0.0  # when it last did, for the pace: what came after it is not of this stage
    is_new: bool = True  # since it was last shown
    number: UUID | None = None  # of its artifact

    @property
    def percent(self) -> float:
        """Return how much is done; what is done twice, after a retry, counts once."""
        return round(100 * min(self.pace.done / self.pace.total, 1), 1) if self.pace.total else 0.0

    def told(self) -> str:
        """Return it in words."""
        done = min(self.pace.done, self.pace.total)
        said = (f"{self.stage}: {done:,} of {self.pace.total:,}", self.pace.told(self.moved_s), plain_cell(self.note))
        return ", ".join(part for part in said if part)


class MovingBars:
    """Hears how far the steps of a run are, from any thread, and shows it at most every two seconds.

    A thread of its own does the showing: a server that is slow or away delays no shard.
    """

    def __init__(
        self, publisher: Publisher, key: str, clock: Callable[[], float] = time.monotonic, every_s: float = EVERY_S
    ) -> None:
        """Show nothing before a stage starts."""
        self._publisher, self._key = publisher, key
        self._clock, self._every_s = clock, every_s
        self._bars: dict[str, Bar] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def expect(self, stage: str, total: int) -> None:
        """Say how much a stage is in all, or how much more, before its batches say how much they are."""
        with self._lock:
            if bar := self._bars.get(stage):
                bar.pace.total, bar.is_expected, bar.is_new = bar.pace.total + total, True, True
            elif total:
                self._bars[stage] = self._new(stage, total, is_expected=True)

    def start(self, stage: str, total: int) -> None:
        """Begin a stage, or a part of one."""
        with self._lock:
            bar = self._bars.get(stage)
            if bar is None and total:
                self._bars[stage] = self._new(stage, total)
            elif bar is not None and not bar.is_expected:
                bar.pace.total += total
        self._start_showing()

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Move a stage's bar."""
        with self._lock:
            if bar := self._bars.get(stage):
                bar.pace.done += units
                bar.note, bar.moved_s, bar.is_new = note or bar.note, self._clock(), True

    def of(self, subject: str) -> Progress:
        """Return a listener whose stages are a subject's own: two models are two trainings."""
        return _Named(self, subject)

    def show(self) -> None:
        """Bring to the server what has changed since the last time."""
        with self._lock:
            bars = [bar for bar in self._bars.values() if bar.is_new]
            shown = [(bar, bar.percent, bar.told()) for bar in bars]
            for bar in bars:
                bar.is_new = False
        for bar, percent, told in shown:
            if not self._show_one(bar, percent, told):
                bar.is_new = True

    def end(self, well: bool) -> None:
        """Show the last of it: full where the run ended well, else how far it came."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        with self._lock:
            for bar in self._bars.values():
                if bar.pace.done < bar.pace.total and not well:
                    bar.note, bar.is_new = "the run ended here", True
                elif bar.note or bar.pace.done < bar.pace.total:
                    bar.pace.done, bar.note, bar.is_new = bar.pace.total, "", True
        self.show()

    def _new(self, stage: str, total: int, is_expected: bool = False) -> Bar:
        return Bar(stage=stage, pace=Pace(total=total, started_s=self._clock()), is_expected=is_expected)

    def _show_one(self, bar: Bar, percent: float, told: str) -> bool:
        """Say whether it worked."""
        door = self._publisher.door
        if bar.number is None:
            key = f"{self._key}-progress-{artifact_key(bar.stage)}"
            artifact = Artifact(key=key, kind=Kind.PROGRESS, data=percent, description=told)
            bar.number = self._publisher.once(lambda: door.put(artifact))
            return bar.number is not None
        number = bar.number
        return self._publisher.once(lambda: door.change(number, percent, told)) is not None

    def _start_showing(self) -> None:
        with self._lock:
            if self._thread or not self._bars or self._ended.is_set():
                return
            context = copy_context()  # the run's, so that what is shown belongs to it
            self._thread = threading.Thread(target=context.run, args=(self._show_again_and_again,), daemon=True)
            self._thread.start()

    def _show_again_and_again(self) -> None:
        self.show()
        while not self._ended.wait(self._every_s):
            self.show()


class _Named:
    """Passes on what it hears under a subject's name."""

    def __init__(self, bars: MovingBars, subject: str) -> None:
        self._bars, self._subject = bars, subject

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self._bars.start(f"{stage} {self._subject}", total)

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Move a stage's bar."""
        self._bars.advance(f"{stage} {self._subject}", units, note)
