from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpipe.config import SplitConfig
from mmpipe.errors import ConfigError
from mmpipe.segment.split import deal_folds, split_of
from mmpipe.types import Split

GROUPS = [f"speaker-{number}" for number in range(4000)]


def test_shares_are_near_what_was_asked() -> None:
    counts = Counter(split_of(group, SplitConfig(val=0.15, test=0.2)) for group in GROUPS)
    # Four standard deviations of a binomial draw.
    assert abs(counts[Split.TEST] / len(GROUPS) - 0.2) < 0.026
    assert abs(counts[Split.VAL] / len(GROUPS) - 0.15) < 0.023
    assert counts[Split.TRAIN] > 0


def test_the_split_of_a_group_is_frozen() -> None:
    # The second letters of tEst, vAl, tRain.
    # A changed hash would move clips between train and test of stores that exist.
    assert "".join(split_of(group, SplitConfig())[1] for group in GROUPS[:24]) == "eeaaraearareeerrrrrrrarr"


@given(st.text(max_size=8))
def test_another_share_of_val_leaves_test_as_it_was(group: str) -> None:
    narrow, wide = (split_of(group, SplitConfig(val=val, test=0.2)) for val in (0.0, 0.5))
    assert (narrow is Split.TEST) == (wide is Split.TEST)
    assert narrow is not Split.VAL


def test_another_salt_draws_another_split() -> None:
    first, second = ([split_of(group, SplitConfig(salt=salt)) for group in GROUPS] for salt in ("", "x"))
    assert first != second


@given(st.lists(st.sampled_from([f"g{number}" for number in range(12)])), st.integers(2, 6), st.text(max_size=3))
def test_dealt_folds_are_whole_groups_balanced_and_not_empty(groups: list[str], folds: int, salt: str) -> None:
    if len(set(groups)) < folds:
        with pytest.raises(ConfigError, match=f"folds = {folds} needs at least so many groups"):
            deal_folds(groups, folds, salt)
        return
    dealt = deal_folds(groups, folds, salt)
    assert set(dealt) == set(groups) and set(dealt.values()) == set(range(folds))
    assert dealt == deal_folds(groups[::-1], folds, salt)
    clips = Counter(dealt[group] for group in groups)
    assert max(clips.values()) - min(clips.values()) <= max(Counter(groups).values())


def test_a_large_group_weighs_as_many_small_ones() -> None:
    dealt = deal_folds([*"aaaaaaaaaa", *"bbbbb", *"ccccc"], 2, "")
    assert dealt["b"] == dealt["c"] != dealt["a"]


def test_as_many_folds_as_speakers_leaves_one_speaker_out() -> None:
    assert sorted(deal_folds(["a", "b", "c", "a"], 3, "").values()) == [0, 1, 2]
