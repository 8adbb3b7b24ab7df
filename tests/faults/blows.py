"""Which round gets which blows: drawn from a seed, each victim in its turn."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

KINDS = ("nightly", "backfill")
_TWICE_IN, _RESTART_IN = 5, 6


class Victim(StrEnum):
    """Whom a blow hits."""

    FLOW = "flow"
    CHILD = "child"
    WORKER = "worker"
    SERVER = "server"
    KEEPER = "keeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """A signal for a victim, once the run has made a share of its objects: time tells little on a busy machine."""

    victim: Victim
    signal: signal.Signals
    moment: float

    def __str__(self) -> str:
        return f"{self.signal.name} {self.victim} at {self.moment:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One night or backfill, and what happens to it."""

    number: int
    kind: str
    blows: tuple[Blow, ...]
    restarts_server: bool

    def __str__(self) -> str:
        said = [str(blow) for blow in self.blows] + ["server restarted"] * self.restarts_server
        return ", ".join(said)


def draw_rounds(
    num_rounds: int, seed: int, victims: Sequence[Victim] = tuple(Victim), kinds: Sequence[str] = KINDS
) -> list[Round]:
    """Draw the rounds: victims in turn, the rest at random; some are struck twice, some see the server restarted."""
    draw = random.Random(seed)
    return [_draw_round(draw, number, victims, kinds) for number in range(num_rounds)]


def _draw_round(draw: random.Random, number: int, victims: Sequence[Victim], kinds: Sequence[str]) -> Round:
    chosen = [victims[number % len(victims)]]
    if number % _TWICE_IN == _TWICE_IN - 1:
        chosen.append(draw.choice(victims))
    blows = [
        Blow(victim=victim, signal=draw.choice((signal.SIGTERM, signal.SIGKILL)), moment=draw.uniform(0, 0.95))
        for victim in chosen
    ]
    return Round(
        number=number,
        # Not the parity of the number: with an even count of victims each would meet one kind only.
        kind=kinds[(number + number // len(victims)) % len(kinds)],
        blows=tuple(sorted(blows, key=lambda blow: blow.moment)),
        restarts_server=number % _RESTART_IN == _RESTART_IN - 2,
    )
