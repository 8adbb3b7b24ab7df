"""A filter judges each clip by itself: what it says of one must not depend on the others."""

from __future__ import annotations

import polars as pl
import pytest

from mmpipe.errors import ConfigError
from mmpipe.steps.plan.clip_filters import find_failing, parse_filters
from mmpipe.store.signals import SIGNAL_COLUMNS


def signals(**columns: list[object]) -> pl.DataFrame:
    """Return rows of signals in which all that is not named is null."""
    num_rows = len(next(iter(columns.values())))
    others: dict[str, list[object]] = {name: [None] * num_rows for name in SIGNAL_COLUMNS}
    keys = pl.Series("key", [f"clip-{number}" for number in range(num_rows)])
    values = others | columns
    series = [pl.Series(name, values[name], dtype=dtype) for name, dtype in SIGNAL_COLUMNS.items()]
    return pl.DataFrame([keys, *series])


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("loudness_lufs > avg(loudness_lufs)", "'avg'"),
        ("sum(duration_s) > 3", "'sum'"),
        ("duration_s > 1 AND COUNT (*) > 1000", "'COUNT'"),
        ("text_words > median(text_words)", "'median'"),
        ("row_number() OVER (ORDER BY duration_s) < 10", "'row_number'"),
        ("duration_s > lag(duration_s) OVER (ORDER BY duration_s)", "'lag'"),
        ("language = first(language)", "'first'"),
    ],
)
def test_what_is_computed_over_many_clips_is_refused_by_name(expression: str, named: str) -> None:
    with pytest.raises(ConfigError, match=r"corpora\.c\.filters\.odd = .* each clip by its own signals") as caught:
        parse_filters("c", {"odd": expression})
    assert f"has {named}" in str(caught.value)


@pytest.mark.parametrize("expression", ["true", "1 > 0", "false"])
def test_what_gives_no_answer_for_each_clip_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="another answer beside other clips"):
        parse_filters("c", {"odd": expression})


def test_what_is_no_condition_is_named() -> None:
    with pytest.raises(ConfigError, match="is no condition: it gives Float64"):
        parse_filters("c", {"odd": "duration_s + 1"})


@pytest.mark.parametrize(
    ("expression", "left_out"),
    [
        ("duration_s > 2", ["clip-0"]),
        ("duration_s BETWEEN 0.5 AND 3 OR language LIKE 'e%'", []),
        ("coalesce(loudness_lufs, -70) > -30", ["clip-0", "clip-1"]),
        ("language IN ('en', 'avg(')", ["clip-1"]),
        ("CASE WHEN duration_s > 2 THEN upper(language) = 'DE' ELSE abs(loudness_lufs) < 50 END", ["clip-0"]),
        ("round(duration_s, 1) >= 1 AND NOT (language IS NULL)", []),
    ],
)
def test_what_is_told_of_one_clip_is_taken(expression: str, left_out: list[str]) -> None:
    rows = signals(duration_s=[1.0, 3.0], language=["en", "de"], loudness_lufs=[-60.0, None])
    assert sorted(find_failing(parse_filters("c", {"rule": expression}), rows)) == left_out
