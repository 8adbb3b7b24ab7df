"""Wait for those who hold what one needs too, as long as they live and get on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mmpipe.config import Config
from mmpipe.errors import HeldError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """For how long one waits for what others hold, and who hears of it."""

    seconds: float = PATIENCE_S  # 0: not at all
    tell: Callable[[str], None] = _say_nothing
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


NO_PATIENCE, AS_FLOWS_DO = Patience(seconds=0), Patience()


def wait_for_others(config: Config, corpus: str, places: Collection[Place], patience: Patience = AS_FLOWS_DO) -> None:
    """Return once any of the shards is in nobody's hands any more: finished, failed, or its maker died.

    HeldError, which says who: they have kept all of them for so long.
    """
    layout = open_store(config.store)
    give_up_s, pause_s = patience.clock() + patience.seconds, _FIRST_LOOK_S
    while True:
        held = {place: who for place, who in running_shards(layout, corpus).items() if place in places}
        if len(held) < len(places):
            return
        if patience.clock() >= give_up_s:
            raise_if_running(held)
        patience.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_LOOK_S)


def do_when_free(work: Callable[[], T], patience: Patience) -> T:
    """Do work for which somebody else may hold the right, again and again; HeldError: they have held it for so long."""
    give_up_s, pause_s, told = patience.clock() + patience.seconds, _FIRST_TRY_S, False
    while True:
        try:
            return work()
        except HeldError as error:
            if patience.clock() >= give_up_s:
                raise
            if not told:
                patience.tell(f"waiting: {error}")
                told = True
        patience.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_TRY_S)


def waiting_line(held: Mapping[Place, str]) -> str:
    """Say for how many shards a run waits, and who makes them."""
    are = counted(len(held), "shard", "of this run are", "of this run is")
    return f"{are} being made by others, and waited for: {'; '.join(sorted(set(held.values())))}."
