"""Which date a run is about."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.parameters import DayParameters
from flows.target import logical_date, resolve_target
from mmpipe.errors import ConfigError

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("scheduled", "zone", "date"),
    [
        (datetime.datetime(2026, 11, 20, 1, 0, tzinfo=UTC), "Europe/Berlin", "2026-11-20"),
        (datetime.datetime(2026, 11, 19, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-20"),
        (datetime.datetime(2026, 11, 20, 2, 0, tzinfo=UTC), "America/New_York", "2026-11-19"),
        # 02:30 does not exist on this day in Berlin; the schedule fires at 01:30 local time.
        (datetime.datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "Europe/Berlin", "2026-03-29"),
        # 02:30 exists twice on this one.
        (datetime.datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/Berlin", "2026-10-25"),
    ],
)
def test_the_date_is_that_of_the_scheduled_time_in_the_schedules_zone(
    scheduled: datetime.datetime, zone: str, date: str
) -> None:
    assert logical_date(scheduled, zone) == date


def test_a_date_given_wins(write_corpus: Callable[..., Path]) -> None:
    config = write_corpus({"a.wav": None})
    target = resolve_target(DayParameters(config=str(config), date=datetime.date(2020, 2, 29)))
    assert (target.corpus, target.dt) == ("tones", "2020-02-29")


def test_the_config_comes_from_the_environment_where_none_is_named(
    write_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMPIPE_CONFIG", str(write_corpus({"a.wav": None})))
    assert resolve_target(DayParameters(date=datetime.date(2020, 2, 29))).corpus == "tones"


def test_an_unknown_corpus_is_named_with_the_known_ones(write_corpus: Callable[..., Path]) -> None:
    config = write_corpus({"a.wav": None})
    with pytest.raises(ConfigError, match=r"'nope'.*tones"):
        resolve_target(DayParameters(config=str(config), corpus="nope"))
