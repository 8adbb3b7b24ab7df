"""Opens stages and tells all listeners of them; a stage inside another is its child, in any thread that inherits it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial

from mmpipe.errors import HeldError
from mmpipe.watch.stage import Ending, Listener, OuterRun, Stage, StageEnd, StageRun, Table

LOGGER = logging.getLogger("mmpipe.watch")
_MOST_LETTERS = 2000  # of an error's message
_current: ContextVar[StageRun | None] = ContextVar("stage", default=None)
_outer: ContextVar[OuterRun | None] = ContextVar("outer_run", default=None)


def current_stage() -> StageRun | None:
    """Return the innermost stage that is open here."""
    return _current.get()


@contextmanager
def inside_run(run_id: str, job: str, root: OuterRun | None = None) -> Iterator[OuterRun]:
    """Let the stages of the block, also in threads that inherit it, belong to an orchestrator's run.

    Inside another such run the first of them is the root, else `root` where one is named.
    """
    around = _outer.get()
    outer = OuterRun(run_id=run_id, job=job, root=around.top if around else root)
    token = _outer.set(outer)
    try:
        yield outer
    finally:
        _outer.reset(token)


class OpenStage:
    """What a step fills in while its stage is open."""

    def __init__(self, run: StageRun, watcher: Watcher) -> None:
        self.run = run
        self.tables_read: list[Table] = []
        self.tables_made: list[Table] = []
        self.counts: dict[str, int] = {}
        self._watcher = watcher

    def read(self, find: Callable[[], Iterable[Table]]) -> None:
        """Say how to find what the stage rests on; it is asked now, where somebody wants to know."""
        self.tables_read.extend(self._watcher.find_tables(find))

    def made(self, find: Callable[[], Iterable[Table]]) -> None:
        """Say how to find what the stage left; it is asked now, where somebody wants to know."""
        self.tables_made.extend(self._watcher.find_tables(find))

    def count(self, **counts: int) -> None:
        """Add numbers that say how much was done."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number


class Watcher:
    """Tells its listeners of stages."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._failed: set[str] = set()  # who was complained about already

    @contextmanager
    def stage(
        self, stage: Stage, *, corpus: str = "", model: str = "", dates: Sequence[str] = ()
    ) -> Iterator[OpenStage]:
        """Open a stage for as long as the block lasts; what the block raises is how it ended."""
        run = StageRun(
            run_id=str(uuid.uuid4()),
            stage=stage,
            started=datetime.now(UTC),
            corpus=corpus,
            model=model,
            dates=tuple(dates),
            parent=_current.get(),
            outer=_outer.get(),
        )
        started_s = time.monotonic()
        opened = OpenStage(run, self)
        token = _current.set(run)
        for listener in self._listeners:
            self._guarded(type(listener).__name__, partial(listener.begin, run))
        error: BaseException | None = None
        try:
            yield opened
        except BaseException as raised:
            error = raised
            raise
        finally:
            end = _end_of(opened, time.monotonic() - started_s, error)
            for listener in self._listeners:
                self._guarded(type(listener).__name__, partial(listener.end, run, end))
            _current.reset(token)

    def find_tables(self, find: Callable[[], Iterable[Table]]) -> Sequence[Table]:
        """Return what `find` finds; nothing where no listener wants it, or it fails."""
        found: list[Table] = []
        if any(listener.wants_tables for listener in self._listeners):
            self._guarded("what was read and made", lambda: found.extend(find()))
        return found

    def _guarded(self, who: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - who only listens must not cost a night
            if who not in self._failed:
                self._failed.add(who)
                why = f"{type(error).__name__}: {error}"
                LOGGER.warning("a listener failed, and the work goes on without it: %s: %s", who, why)


def _end_of(opened: OpenStage, seconds: float, error: BaseException | None) -> StageEnd:
    ending = Ending.COMPLETED
    if error is not None:
        ending = Ending.FAILED if isinstance(error, Exception) and not isinstance(error, HeldError) else Ending.ABORTED
    return StageEnd(
        ending=ending,
        ended=datetime.now(UTC),
        seconds=seconds,
        read=tuple(opened.tables_read),
        made=tuple(opened.tables_made),
        counts=dict(opened.counts),
        error=type(error).__name__ if error else "",
        message=str(error)[:_MOST_LETTERS] if error else "",
    )
