from __future__ import annotations

import pytest

from mmpipe.config import DateRule, DatesConfig
from mmpipe.errors import SampleError
from mmpipe.sources.dates import partition_of
from mmpipe.sources.stems import AssetFiles
from mmpipe.types import RawFile


def asset(*names: str) -> AssetFiles:
    files = tuple(RawFile(name=name, nbytes=1, mtime_ns=0, inode=0) for name in names)
    return AssetFiles(source_id="a", files=files)


def test_first_seen_is_for_the_caller() -> None:
    assert partition_of(asset("2026-11-20/a.mp4"), DatesConfig(), {"dt": "2026-11-20"}) is None


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r"(?P<dt>\d{4}-\d{2}-\d{2})", ["2026-11-20/a.mp4", "2026-11-20/a.vtt"]),
        (r"_(?P<dt>\d{8})\.", ["cam_20261120.mp4"]),
        (r"only-this-(?P<dt>\S{10})", ["a.vtt", "only-this-2026-11-20.mp4"]),
    ],
)
def test_path_rule(pattern: str, names: list[str]) -> None:
    assert partition_of(asset(*names), DatesConfig(rule=DateRule.PATH, pattern=pattern), None) == "2026-11-20"


def test_column_rule() -> None:
    dates = DatesConfig(rule=DateRule.COLUMN, column="day")
    assert partition_of(asset("a.mp4"), dates, {"day": "2026-11-20"}) == "2026-11-20"


@pytest.mark.parametrize(
    "value",
    [
        "2026-13-01",
        "2026-02-30",
        "20261",
        "2026-11-20\n",
        "2026-W47-5",
        "٢٠٢٦-11-20",
        "0000-01-01",
        "../2026-11-20",
        "",
    ],
)
def test_what_is_no_date_is_a_bad_date(value: str) -> None:
    with pytest.raises(SampleError) as caught:
        partition_of(asset("a.mp4"), DatesConfig(rule=DateRule.COLUMN, column="day"), {"day": value})
    assert caught.value.code == "bad_date"


@pytest.mark.parametrize("labels", [None, {}, {"dt": "2026-11-20"}])
def test_absent_column_is_a_bad_date(labels: dict[str, str] | None) -> None:
    with pytest.raises(SampleError, match="'day'"):
        partition_of(asset("a.mp4"), DatesConfig(rule=DateRule.COLUMN, column="day"), labels)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.mp4"], "no date"),
        (["12026-11-201/a.mp4"], "no date"),  # a part of a longer number is none
        (["2026-11-20.mp4", "2026-11-21.vtt"], "several dates"),
        (["multi_2026-11-20_2026-11-21.wav"], "several dates: 2026-11-20, 2026-11-21"),
        (["2026-11-20/2026-11-21/x.wav"], r"several dates.*dates.pattern.*\^\(\?P<dt>"),
        (["2026-11-20/2026-02-30.wav"], "'2026-02-30' is not a date"),
    ],
)
def test_no_date_or_several_in_the_names_is_a_bad_date(names: list[str], message: str) -> None:
    with pytest.raises(SampleError, match=message):
        partition_of(asset(*names), DatesConfig(rule=DateRule.PATH), None)


def test_the_same_date_may_come_twice_and_a_pattern_may_say_which_counts() -> None:
    default, folder = DatesConfig(rule=DateRule.PATH), r"^(?P<dt>\d{4}-\d{2}-\d{2})/"
    assert partition_of(asset("2026-11-20/a_2026-11-20.wav"), default, None) == "2026-11-20"
    chosen = DatesConfig(rule=DateRule.PATH, pattern=folder)
    assert partition_of(asset("2026-11-20/sent_2026-11-21.wav"), chosen, None) == "2026-11-20"
