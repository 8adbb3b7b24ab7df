"""A run is called stuck once it claims to be at work for longer than the window with no process."""

from __future__ import annotations

import pytest

from tests.faults.house import Run
from tests.faults.zombies import LIMITS_S, ZombieWatch


def run(state: str) -> Run:
    return Run(id="a", name="nightly-clips", state=state, message="")


@pytest.mark.parametrize("state", sorted(LIMITS_S))
def test_who_is_alone_for_too_long_is_stuck_and_not_before(state: str) -> None:
    watch = ZombieWatch()
    watch.look([run(state)], set(), 0)
    watch.look([run(state)], set(), LIMITS_S[state])
    assert not watch.found
    watch.look([run(state)], set(), LIMITS_S[state] + 1)
    assert "nightly-clips" in watch.found["a"]


@pytest.mark.parametrize("between", [(run("RUNNING"), {"a"}), (run("SCHEDULED"), set()), (run("CRASHED"), set())])
def test_a_process_or_another_state_in_between_begins_the_count_anew(between: tuple[Run, set[str]]) -> None:
    watch = ZombieWatch()
    watch.look([run("RUNNING")], set(), 0)
    watch.look([between[0]], between[1], 100)
    watch.look([run("RUNNING")], set(), 120)
    watch.look([run("RUNNING")], set(), 200)
    assert not watch.found
