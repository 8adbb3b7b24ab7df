from __future__ import annotations

import numpy as np
import pytest

from mmpipe.errors import StoreError
from mmpipe.evaluate.answers.base import join
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.answers.files import from_parquet, to_parquet


def make(keys: tuple[str, ...] = ("c", "a", "b"), **changes: object) -> ClassAnswers:
    rng = np.random.default_rng(0)
    values: dict = {
        "keys": keys,
        "groups": tuple(f"g{key}" for key in keys),
        "labels_N": np.arange(len(keys)) % 2,
        "probabilities_NK": rng.dirichlet([1, 1], len(keys)).astype(np.float32),
        "classes": ("ja", "nö\n"),
    }
    return ClassAnswers(**(values | changes))


def test_parquet_gives_back_the_exact_values_in_the_same_bytes() -> None:
    before = make()
    after = from_parquet(to_parquet(before))
    assert (after.keys, after.groups, after.classes) == (before.keys, before.groups, before.classes)
    assert np.array_equal(after.labels_N, before.labels_N)
    assert np.array_equal(after.probabilities_NK, before.probabilities_NK)
    assert to_parquet(after) == to_parquet(before)


def test_a_flipped_bit_is_noticed() -> None:
    data = bytearray(to_parquet(make()))
    data[40] ^= 1
    with pytest.raises(StoreError):
        from_parquet(bytes(data))
    with pytest.raises(StoreError):
        from_parquet(b"not parquet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"probabilities_NK": np.array([[2.0, -1.0]] * 3)}, "sum to 1"),
        ({"probabilities_NK": np.array([[0.5, 0.6]] * 3)}, "softmax"),
        ({"probabilities_NK": np.full((3, 2), np.nan)}, "finite"),
        ({"probabilities_NK": np.full((3, 3), 1 / 3)}, "classes"),
        ({"labels_N": np.array([0, 1, -1])}, "labels must be"),
        ({"labels_N": np.array([0, 1, 2])}, "labels must be"),
        ({"groups": ("g", "", "g")}, "no group"),
        ({"groups": ("g",)}, "must agree"),
        ({"keys": ("a", "a", "b")}, "twice"),
        ({"keys": (), "groups": (), "labels_N": np.zeros(0), "probabilities_NK": np.zeros((0, 2))}, "nothing"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**changes)


def test_rows_follow_the_keys_asked_for() -> None:
    predictions = make()
    aligned = predictions.aligned_to(("b", "c"))
    assert aligned.groups == ("gb", "gc")
    assert np.array_equal(aligned.probabilities_NK, predictions.probabilities_NK[[2, 0]])
    with pytest.raises(ValueError, match="1 of 2 clips have no prediction, the first is z"):
        predictions.aligned_to(("a", "z"))


def test_folds_join_in_key_order_and_never_twice() -> None:
    joined = join([make(("d", "b")), make(("a", "c"))])
    assert joined.keys == ("a", "b", "c", "d") and joined.groups == ("ga", "gb", "gc", "gd")
    with pytest.raises(ValueError, match="twice"):
        join([make(("a", "b")), make(("b", "c"))])
    with pytest.raises(ValueError, match="different classes"):
        join([make(("a", "b")), make(("c", "d"), classes=("x", "y"))])
