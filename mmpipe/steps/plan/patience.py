"""Wait for those who hold what one needs too, as long as they live and get on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mmpipe.config import Config
from mmpipe.errors import HeldError, ShardError
from mmpipe.steps.plan.choices import PATIENCE_S
from mmpipe.steps.plan.plan import raise_if_running
from mmpipe.store.claims import Place, running_shards
from mmpipe.store.layout import open_store
from mmpipe.words import counted

_FIRST_LOOK_S, _LAST_LOOK_S = 0.2, 10.0
_FIRST_TRY_S, _LAST_TRY_S = 1.0, 60.0  # a try is more than a look: those who watch hear of it

T = TypeVar("T")


def _say_nothing(line: str) -> None:
    """Tell nobody."""


class _Waits:
    """What all waits of one run share: how long it has waited in all, and whether it has ended.

    Of several who wait at once, the time counts once; the time of the work between two waits does not count.
    """

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._waiting, self._since_s, self._waited_s = 0, 0.0, 0.0

    def waited_s(self, now_s: float) -> float:
        """Return for how long anybody has waited until now."""
        with self._lock:
            return self._waited_s + (now_s - self._since_s if self._waiting else 0.0)

    def begin(self, now_s: float) -> None:
        """Count one more who waits."""
        with self._lock:
            if not self._waiting:
                self._since_s = now_s
            self._waiting += 1

    def end(self, now_s: float) -> None:
        """Count one less who waits."""
        with self._lock:
            self._waiting -= 1
            if not self._waiting:
                self._waited_s += now_s - self._since_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """For how long one waits for what others hold, and who hears of it."""

    seconds: float = PATIENCE_S  # 0: not at all
    tell: Callable[[str], None] = _say_nothing
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None  # None: as the clock goes, and no longer than until the run ends
    waits: _Waits | None = None  # of the run; None: each wait has all of the seconds for itself

    def of_run(self) -> Patience:
        """Return the patience of a whole run, whose waits share the seconds; once made, it stays the same."""
        return self if self.waits else replace(self, waits=_Waits())

    @property
    def is_over(self) -> bool:
        """Say whether all of it is used up."""
        return (self.waits.waited_s(self.clock()) if self.waits else 0.0) >= self.seconds

    def end(self) -> None:
        """End the run: whoever waits in it stops at once, and nobody waits any more."""
        if self.waits:
            self.waits.ended.set()

    def raise_if_ended(self) -> None:
        """Raise ShardError where the run has ended."""
        if self.waits and self.waits.ended.is_set():
            raise ShardError("the run was interrupted while this waited for its turn. Run the same again.")

    def pause(self, seconds: float) -> None:
        """Let some of it pass; ShardError: the run has ended meanwhile."""
        waits = self.waits or _Waits()
        waits.begin(self.clock())
        try:
            (self.sleep or waits.ended.wait)(seconds)
        finally:
            waits.end(self.clock())
        self.raise_if_ended()


NO_PATIENCE, AS_FLOWS_DO = Patience(seconds=0), Patience()


def wait_for_others(config: Config, corpus: str, places: Collection[Place], patience: Patience = AS_FLOWS_DO) -> None:
    """Return once any of the shards is in nobody's hands any more: finished, failed, or its maker died.

    HeldError, which says who: they have kept all of them for so long.
    """
    layout = open_store(config.store)
    patience, pause_s = patience.of_run(), _FIRST_LOOK_S
    while True:
        held = {place: who for place, who in running_shards(layout, corpus).items() if place in places}
        if len(held) < len(places):
            return
        if patience.is_over:
            raise_if_running(held)
        patience.pause(pause_s)
        pause_s = min(2 * pause_s, _LAST_LOOK_S)


def do_when_free(work: Callable[[], T], patience: Patience) -> T:
    """Do work for which somebody else may hold the right, again and again; HeldError: they have held it for so long."""
    patience, pause_s, told = patience.of_run(), _FIRST_TRY_S, False
    while True:
        try:
            return work()
        except HeldError as error:
            if patience.is_over:
                raise
            if not told:
                patience.tell(f"waiting: {error}")
                told = True
        patience.pause(pause_s)
        pause_s = min(2 * pause_s, _LAST_TRY_S)


def waiting_line(held: Mapping[Place, str]) -> str:
    """Say for how many shards a run waits, and who makes them."""
    are = counted(len(held), "shard", "of this run are", "of this run is")
    return f"{are} being made by others, and waited for: {'; '.join(sorted(set(held.values())))}."
