"""Keys and shapes that Prefect takes."""

from __future__ import annotations

import pytest

from tasks.artifacts import artifact_key, rectangular


@pytest.mark.parametrize(
    ("names", "key"),
    [(("nightly", "av_digits"), "nightly-av-digits"), (("Train", "a--b_"), "train-a-b"), (("x",), "x")],
)
def test_a_key_has_only_lower_case_letters_digits_and_dashes(names: tuple[str, ...], key: str) -> None:
    assert artifact_key(*names) == key


def test_every_row_has_every_column() -> None:
    assert rectangular([{"a": 1}, {"b": 2}]) == [{"a": 1, "b": ""}, {"a": "", "b": 2}]
    assert rectangular([]) == []
