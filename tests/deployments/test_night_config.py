"""The night of a corpus: what cron says is checked where it is written, and no digest has it."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.schedules import CronSchedule

from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.intake import settings_digest


def config_with(**night: Any) -> Any:
    return parse_config({"corpora": {"street": {"root": "raw", "night": night}}})


@pytest.mark.parametrize(
    "cron",
    ["0 2 * * *", "*/15 0-6 * * *", "30 1 1,15 * *", "0 22 * JAN-mar mon-fri", "0 5 * * 7", "0 0-23/2 * * sun,3"],
)
def test_what_we_take_the_server_takes_too(cron: str) -> None:
    assert config_with(cron=cron).corpora["street"].night.cron == cron
    assert CronSchedule(cron=cron, timezone="Europe/Berlin").cron == cron


@pytest.mark.parametrize(
    ("cron", "word"),
    [
        ("0 2 * *", "this has 4"),
        ("0 2 * * * *", "this has 6"),
        ("60 2 * * *", "'60' is no minute"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 2 0 * *", "'0' is no day of the month"),
        ("0 2 * 13 *", "'13' is no month"),
        ("0 2 * * 8", "'8' is no day of the week"),
        ("0 2 * * mon,", "'' is no day of the week"),
        ("0 6-2 * * *", "'6-2' is no hour"),
        ("*/0 2 * * *", "'*/0' is no minute"),
        ("*-3 2 * * *", "'*-3' is no minute"),
        ("0 2 * * noday", "'noday' is no day"),
        ("@daily", "this has 1"),
    ],
)
def test_a_cron_that_says_nothing_is_refused(cron: str, word: str) -> None:
    with pytest.raises(ConfigError, match=r"corpora\.street\.night\.cron") as refusal:
        config_with(cron=cron)
    assert word in str(refusal.value)


@pytest.mark.parametrize("night", [{"priority": 0}, {"max_runs": 0}, {"max_runs": 1001}, {"crom": "0 2 * * *"}])
def test_limits_hold(night: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"corpora\.street\.night"):
        config_with(**night)


def test_when_a_corpus_is_taken_in_changes_nothing_that_is_made() -> None:
    usual, other = config_with(), config_with(cron="", priority=1, max_runs=9)
    assert settings_digest(usual.corpora["street"]) == settings_digest(other.corpora["street"])
