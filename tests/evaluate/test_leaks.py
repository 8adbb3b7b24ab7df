from __future__ import annotations

from dataclasses import replace

import pytest

from mmpipe.evaluate.leaks import ClipRow, find_leaks, label_in_text

CLEAN = [
    ClipRow(
        key=f"k{n}",
        part=("train", "val", "test")[n % 3],
        group=f"g{n % 3}-{n % 2}",
        streams=(f"digest{n}",),
        text=f"nothing to see here {n}",
        label=("yes", "no")[n % 2],
    )
    for n in range(24)
]


def test_a_clean_evaluation_has_none() -> None:
    assert find_leaks(CLEAN) == ()
    assert find_leaks([]) == ()


def test_a_group_on_both_sides() -> None:
    (leak,) = find_leaks([*CLEAN, replace(CLEAN[0], key="x", part="test", streams=())])
    assert (leak.code, leak.count, leak.examples) == ("group_overlap", 1, ("g0-0",))
    assert "labels.group" in leak.detail


def test_the_same_track_on_both_sides() -> None:
    (leak,) = find_leaks([*CLEAN, replace(CLEAN[2], key="x", streams=("digest0",))])
    assert (leak.code, leak.examples) == ("stream_overlap", ("digest0",))


def test_the_same_track_twice_on_one_side_is_none() -> None:
    assert find_leaks([*CLEAN, replace(CLEAN[0], key="x")]) == ()


@pytest.mark.parametrize(
    ("text", "label"),
    [("I said YES, twice", "yes"), ("it was New   York then", "new york"), ("the label: ice_cream", "Ice Cream")],
)
def test_a_text_that_holds_its_own_label(text: str, label: str) -> None:
    rows = [replace(row, text=text, label=label) for row in CLEAN]
    (leak,) = find_leaks(rows)
    assert (leak.code, leak.count) == ("label_in_text", 24)


def test_words_not_letters_are_compared() -> None:
    assert label_in_text([replace(row, text="the noon train", label="no") for row in CLEAN]) is None
    assert label_in_text([replace(row, text="", label="no") for row in CLEAN]) is None


def test_the_share_decides() -> None:
    rows = [replace(CLEAN[0], key=f"k{n}", text="no answer" if n < 95 else "maybe", label="no") for n in range(100)]
    assert label_in_text(rows) is not None
    assert label_in_text([*rows, replace(rows[-1], key="x")]) is None
