"""Wait for those who are making shards that one needs too, as long as they live and get on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from mmpipe.config import Config
from mmpipe.steps.plan.plan import raise_if_running
from mmpipe.store.claims import Place, running_shards
from mmpipe.store.layout import open_store
from mmpipe.words import counted

PATIENCE_S = 2 * 3600.0  # a batch takes minutes; nobody alive keeps one so much longer without being stuck
_FIRST_LOOK_S, _LAST_LOOK_S = 0.2, 10.0


def wait_for_others(
    config: Config,
    corpus: str,
    places: Collection[Place],
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once any of the shards is in nobody's hands any more: finished, failed, or its maker died.

    HeldError, which says who: they have kept all of them for so long.
    """
    layout = open_store(config.store)
    give_up_s, pause_s = clock() + patience_s, _FIRST_LOOK_S
    while True:
        held = {place: who for place, who in running_shards(layout, corpus).items() if place in places}
        if len(held) < len(places):
            return
        if clock() >= give_up_s:
            raise_if_running(held)
        sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_LOOK_S)


def waiting_line(held: Mapping[Place, str]) -> str:
    """Say for how many shards a run waits, and who makes them."""
    are = counted(len(held), "shard", "of this run are", "of this run is")
    return f"{are} being made by others, and waited for: {'; '.join(sorted(set(held.values())))}."
