"""A run with many children: each once, so many at once, also where the run dies and is started again."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections import Counter
from collections.abc import Collection
from zoneinfo import ZoneInfo

import pytest

from flows.fan_out import CRASHED_LOOKS, CRASHED_TRIES, cancel_children, run_children
from flows.made_runs import MadeRuns
from flows.parameters import BackfillDayParameters
from flows.runs import Child, Run
from flows.target import logical_date

NUM_DAYS = 400
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


class Died(BaseException):
    """The parent's process is gone."""


class MortalRuns(MadeRuns):
    """Lets the parent die at the so many-th call, before or after the server has heard it."""

    calls_left = 10**9
    most_living = 0

    def start(self, child: Child, number: int) -> Run:
        self._count()
        run = super().start(child, number)
        self.most_living = max(self.most_living, sum(not run.is_over for run in self.children()))
        self._count()
        return run

    def look(self, ids: Collection[str]) -> tuple[Run, ...]:
        self._count()
        return super().look(ids)

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise Died


def child(subject: str) -> Child:
    day = BackfillDayParameters(date=datetime.date(2026, 11, 1))
    return Child(subject=subject, deployment="backfill-day/backfill-day", corpus="tones", parameters=day)


def scheduled_days(zone: str) -> list[str]:
    """The partitions of the nights of 400 days, by the scheduler's own reckoning; the clock changes twice in them."""
    from prefect.server.schemas.schedules import CronSchedule  # the whole server: only where it is asked

    cron = CronSchedule(cron="30 2 * * *", timezone=zone)
    start = datetime.datetime(2026, 1, 10, 12, tzinfo=ZoneInfo(zone))
    return [logical_date(time, zone) for time in asyncio.run(cron.get_dates(NUM_DAYS, start=start))]


@pytest.mark.parametrize("zone", ZONES)
def test_every_night_of_a_year_has_a_date_of_its_own_and_none_is_left_out(zone: str) -> None:
    days = scheduled_days(zone)
    first = datetime.date(2026, 1, 11)
    assert days == [(first + datetime.timedelta(days=number)).isoformat() for number in range(NUM_DAYS)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seed", range(5))
def test_each_day_runs_exactly_once_however_often_the_parent_dies(zone: str, seed: int) -> None:
    days, chance = scheduled_days(zone), random.Random(f"{zone}{seed}")
    runs, lives = MortalRuns(pauses=chance.randint(1, 4)), 0
    while True:
        lives += 1
        runs.calls_left = chance.randint(1, 300)
        done = {run.subject for run in runs.children() if run.is_complete}
        due = [child(day) for day in days if day not in done]  # the ledger knows what is done
        try:
            ended = run_children(due, runs, max_in_flight=4, keep_complete=True)
            break
        except Died:
            runs.pause()  # its children go on without it
    assert lives > 3
    assert [run.state for _, run in sorted(ended.items())] == ["Completed"] * NUM_DAYS
    assert Counter(run.subject for run in runs.children()) == Counter(days)
    assert runs.most_living == 4


def test_what_was_forced_and_is_complete_is_not_made_again_by_a_later_life() -> None:
    runs = MortalRuns()
    runs.calls_left = 8
    wanted = [child(name) for name in "abcdef"]
    with pytest.raises(Died):
        run_children(wanted, runs, keep_complete=True)
    runs.calls_left = 10**9
    assert set(run_children(wanted, runs, keep_complete=True)) == set("abcdef")
    assert len(runs.children()) == 6


def test_a_day_that_always_fails_stops_no_other_and_is_tried_once_in_each_life() -> None:
    runs = MadeRuns(lambda subject, number: "Failed" if subject == "b" else "Completed")
    for life in (1, 2):
        ended = run_children([child(name) for name in "abc"], runs, max_in_flight=2, keep_complete=True)
        assert {name: run.state for name, run in ended.items()} == {"a": "Completed", "b": "Failed", "c": "Completed"}
        assert Counter(run.subject for run in runs.children()) == {"a": 1, "b": life, "c": 1}
    assert ended["b"].message == "b has ended"


def test_cancelling_ends_what_lives_and_leaves_what_is_over() -> None:
    runs = MadeRuns(pauses=2)
    complete = runs.start(child("a"), 0)
    runs.pause()
    runs.start(child("b"), 0)
    runs.pause()
    assert cancel_children(runs) == 1
    assert {run.subject: run.state for run in runs.children()} == {"a": "Completed", "b": "Cancelled"}
    assert cancel_children(runs) == 0 and complete.subject == "a"


def test_a_crashed_child_that_something_starts_again_is_waited_for() -> None:
    class Restarted(MadeRuns):
        pauses = 0

        def pause(self) -> None:
            super().pause()
            self.pauses += 1
            if self.pauses == CRASHED_LOOKS - 1:
                for run in self.children():
                    self.restart(run)

    runs = Restarted(lambda subject, number: "Completed" if runs.pauses > 1 else "Crashed")
    ended = run_children([child("a")], runs)
    assert (ended["a"].state, ended["a"].number, len(runs.children())) == ("Completed", 0, 1)


def test_a_crashed_child_that_nobody_starts_again_is_tried_anew_and_not_for_ever() -> None:
    runs = MadeRuns(lambda subject, number: "Completed" if number == 1 else "Crashed")
    assert run_children([child("a")], runs)["a"].number == 1
    runs = MadeRuns(lambda subject, number: "Crashed")
    assert run_children([child("a")], runs)["a"].state == "Crashed"
    assert len(runs.children()) == CRASHED_TRIES


def test_a_child_that_was_deleted_is_not_waited_for() -> None:
    class Losing(MadeRuns):
        def look(self, ids: Collection[str]) -> tuple[Run, ...]:
            return ()

    assert run_children([child("a")], Losing())["a"].state == "Deleted"
