from __future__ import annotations

from dataclasses import replace

import pytest

from mmpipe.evaluate.leaks import ClipRow, find_leaks, label_in_name, label_in_text

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


def cut(key: str, part: str, start: int, end: int, asset: str = "film") -> ClipRow:
    return ClipRow(key=key, part=part, group=key, asset=asset, start_ns=start, end_ns=end)


def test_moments_that_are_learnt_and_tested() -> None:
    (leak,) = find_leaks([cut("a", "train", 0, 10), cut("b", "train", 20, 30), cut("c", "test", 8, 15)])
    assert (leak.code, leak.count, leak.examples) == ("time_overlap", 1, ("film",))
    (leak,) = find_leaks([cut("a", "train", 0, 100), cut("b", "test", 40, 50), cut("c", "train", 200, 300)])
    assert leak.code == "time_overlap"  # one holds the other


@pytest.mark.parametrize(
    "rows",
    [
        [cut("a", "train", 0, 10), cut("b", "test", 10, 20)],  # they touch
        [cut("a", "train", 0, 10), cut("b", "train", 5, 20), cut("c", "test", 20, 30)],  # one part overlaps itself
        [cut("a", "train", 0, 10), cut("b", "test", 5, 15, asset="another")],
        [cut("a", "train", 0, 0), cut("b", "test", 0, 0)],  # pictures take no time
    ],
)
def test_clips_that_share_no_moment_are_no_leak(rows: list[ClipRow]) -> None:
    assert find_leaks(rows) == ()


def test_near_duplicates_across_parts_are_a_leak_and_within_one_are_none() -> None:
    rows = [cut(name, part, 0, 1, asset=name) for name, part in (("a", "train"), ("b", "train"), ("c", "test"))]
    assert find_leaks(rows, [("a", "b"), ("b", "a"), ("c", "c"), ("a", "elsewhere")]) == ()
    (leak,) = find_leaks(rows, [("c", "a"), ("a", "c")])
    assert (leak.code, leak.count, leak.examples) == ("near_duplicate", 1, ("a ~ c",))


def test_labels_in_file_names_are_said_and_are_no_leak() -> None:
    rows = [replace(row, name=f"corpus/{row.label}/{row.key}.wav") for row in CLEAN]
    assert find_leaks(rows) == () and "24 of 24 clips" in label_in_name(rows)
    assert label_in_name(CLEAN) == "" and label_in_name(rows[:2] + CLEAN) != ""
    assert label_in_name([*rows[:12], *(replace(row, name="x.wav") for row in CLEAN)]) == ""
