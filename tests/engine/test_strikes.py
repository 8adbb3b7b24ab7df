"""Whom the deaths of workers are blamed on."""

from __future__ import annotations

import random

import pytest

from mmpipe.engine.strikes import IN_ALL, KILLED_IN_A_ROW, KILLED_OUTSIDE, Strikes


def deaths_until_blamed(deaths: list[tuple[str, bool]]) -> int:
    """Return how many deaths (part, by a foreign SIGKILL) it took, 0 where nobody was blamed."""
    strikes = Strikes()
    for number, (part, killed) in enumerate(deaths, start=1):
        if strikes.add(part, killed=killed):
            return number
    return 0


@pytest.mark.parametrize(
    ("deaths", "blamed_at"),
    [
        ([("a", False)], 0),
        ([("a", False), ("a", False)], 2),
        ([("a", True)] * 2, 0),
        ([("a", True)] * KILLED_IN_A_ROW, KILLED_IN_A_ROW),
        ([("a", True), ("a", False)], 2),  # the worker itself did it, at last
        ([("a", False), ("b", False), ("a", False)], 0),  # it was gone through in between
        ([("a", False), ("", True), ("a", False), ("a", False)], 4),
        ([("", False), ("", False)], 2),
        ([("", True)] * (KILLED_OUTSIDE - 1), 0),
        ([("", True)] * KILLED_OUTSIDE, KILLED_OUTSIDE),
    ],
)
def test_a_part_is_blamed_for_deaths_in_a_row_and_for_foreign_kills_later(deaths, blamed_at) -> None:
    assert deaths_until_blamed(deaths) == blamed_at


def test_parts_that_take_turns_are_blamed_in_the_end() -> None:
    assert deaths_until_blamed([("a", False), ("b", False)] * 100) == 2 * IN_ALL - 1


def test_kills_at_random_are_hardly_ever_blamed_on_a_part() -> None:
    blamed = 0
    for seed in range(200):
        draw = random.Random(seed)
        blamed += deaths_until_blamed([(str(draw.randrange(100)), True) for _ in range(50)]) > 0
    assert blamed <= 4
