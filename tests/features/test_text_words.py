"""`text-words`: one row per word, like words near, the same word everywhere the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.registry import make_extractor
from mmpipe.types import FeatureKind, TextClip

GOLDEN = [
    [0.1667, 0, -0.1667, 0.1667, 0.1667, 0],
    [-0.1213, 0, 0, 0.2425, 0.1213, 0.2425],
    [-0.1622, 0, 0.1622, 0.1622, 0, 0.1622],
]


def rows(text: str, dim: int = 128) -> np.ndarray:
    (value,) = make_extractor("text-words", {"dim": dim}).extract([TextClip(text=text)])
    assert value.times_ns is not None and value.times_ns.tolist() == list(range(len(value.array)))
    return value.array


@given(words=st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=8))
@settings(max_examples=80, deadline=None)
def test_there_is_exactly_one_finite_row_per_word(words: list[str]) -> None:
    words = [word for part in words for word in part.split()]
    if not words or any(0xD800 <= ord(character) <= 0xDFFF for character in "".join(words)):
        return
    found = rows(" ".join(words))
    assert found.shape == (len(words), 128 + 15) and found.dtype == np.float32
    assert np.isfinite(found).all() and (np.abs(found) <= 1).all()
    np.testing.assert_allclose(np.linalg.norm(found[:, 64:128], axis=1), 1, atol=1e-5)


def test_a_word_is_the_same_everywhere_but_for_its_place() -> None:
    first, again = rows("Paris is big"), rows("in Paris")
    np.testing.assert_array_equal(first[0, :-3], again[1, :-3])
    np.testing.assert_array_equal(first[:, -3:], [[1, 0, 0], [0, 0, 0.5], [0, 1, 1]])
    np.testing.assert_array_equal(rows("one")[:, -3:], [[1, 1, 0]])


def test_like_words_are_near_in_their_letters_and_far_as_words() -> None:
    found = rows("walking walked zeppelin WALKING", 256)
    letters, own = found[:, :128], found[:, 128:256]
    assert letters[0] @ letters[1] > 0.4 and abs(letters[0] @ letters[2]) < 0.3
    assert abs(own[0] @ own[1]) < 0.4
    np.testing.assert_array_equal(found[0, :256], found[3, :256])
    assert not np.array_equal(found[0, 256:], found[3, 256:]), "capitals are told beside"


def test_ten_thousand_words_stay_apart() -> None:
    found = rows(" ".join(f"w{number}" for number in range(10_000)))
    assert len(np.unique(found[:, 64:128], axis=0)) == 10_000


def test_shapes_are_told() -> None:
    flags = {word: rows(word)[0, 128:139].astype(int).tolist() for word in ("Paris", "NATO", "iPhone", "3.5", "#tag")}
    assert flags["Paris"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert flags["NATO"][:4] == [1, 1, 0, 0]
    assert flags["iPhone"][:4] == [0, 0, 1, 0]
    assert flags["3.5"][4:8] == [1, 0, 1, 0]
    assert flags["#tag"][8] == 1


def test_values_never_change() -> None:
    found = rows("U.N. official Paris", 64)
    np.testing.assert_allclose(found[:, :6], GOLDEN, atol=5e-5)


@pytest.mark.parametrize(("text", "code"), [(" \n", "empty_text"), ("a \ud800", "encoding")])
def test_a_text_without_words_is_dropped_with_a_reason(text: str, code: str) -> None:
    with pytest.raises(SampleError) as caught:
        rows(text)
    assert caught.value.code == code


def test_the_kind_is_a_sequence_and_sizes_are_checked() -> None:
    schema = make_extractor("text-words", {"dim": 64}).schema
    assert (schema.kind, schema.dim) == (FeatureKind.SEQUENCE, 79)
    with pytest.raises(ConfigError, match="dim = 63"):
        make_extractor("text-words", {"dim": 63})
