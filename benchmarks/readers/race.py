"""Contestants in interleaved rounds: each does the same work once a round, and is timed by the CPU and by the clock."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Visit = Callable[[int], int]  # round number -> clips seen


def nothing() -> None:
    """Tidy nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to do the work: `prepare` returns what is timed, and `tidy` runs after every round, untimed."""

    name: str
    prepare: Callable[[], Visit]
    tidy: Callable[[], None] = nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Clips per second of every contestant, round by round, and why some have none."""

    per_cpu_s: dict[str, list[float]] = field(default_factory=dict)
    per_wall_s: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __or__(self, other: Outcome) -> Outcome:
        """Return both."""
        return Outcome(
            per_cpu_s=self.per_cpu_s | other.per_cpu_s,
            per_wall_s=self.per_wall_s | other.per_wall_s,
            left_out=self.left_out | other.left_out,
        )


def race(contestants: Sequence[Contestant], rounds: int) -> Outcome:
    """Time contestants in turns; the first round warms and does not count. Who fails is left out, with the reason."""
    outcome, visits = Outcome(), {}
    for number in range(rounds + 1):
        for contestant in contestants:
            if contestant.name in outcome.left_out:
                continue
            try:
                if contestant.name not in visits:
                    visits[contestant.name] = contestant.prepare()
                _timed(visits[contestant.name], contestant.name, number, outcome)
                contestant.tidy()
            except Exception as error:  # noqa: BLE001  a peer that fails is a result, and is listed with its reason
                _leave_out(outcome, contestant.name, error)
    print(f"{', '.join(one.name for one in contestants)}: {rounds} rounds", file=sys.stderr)
    return outcome


def _timed(visit: Visit, name: str, number: int, outcome: Outcome) -> None:
    start_cpu_s, start_s = cpu_seconds(), time.perf_counter()
    clips = visit(number)
    used_s, wall_s = cpu_seconds() - start_cpu_s, time.perf_counter() - start_s
    if not clips:
        raise ValueError("it saw no clips")
    if number:
        outcome.per_cpu_s.setdefault(name, []).append(clips / max(used_s, 1e-6))
        outcome.per_wall_s.setdefault(name, []).append(clips / wall_s)


def _leave_out(outcome: Outcome, name: str, error: Exception) -> None:
    outcome.left_out[name] = reason_of(error)
    for rates in (outcome.per_cpu_s, outcome.per_wall_s):
        rates.pop(name, None)
    print(f"left out: {name}: {outcome.left_out[name]}", file=sys.stderr)


def reason_of(error: Exception) -> str:
    """Say in one line why there is no figure."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)
