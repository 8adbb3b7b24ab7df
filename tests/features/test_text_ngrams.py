from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.registry import make_extractor
from mmpipe.types import TextClip


def vectors(*texts: str, dim: int = 512) -> np.ndarray:
    values = make_extractor("text-ngrams", {"dim": dim}).extract([TextClip(text=text) for text in texts])
    return np.stack([value.array for value in values])


@given(text=st.text(min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_a_finite_vector_of_length_one(text: str) -> None:
    if not text.strip():
        return
    (vector,) = vectors(text)
    assert vector.shape == (512,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "   ", "\n\t ", " "])
def test_a_text_without_a_character_is_dropped_with_a_reason(text: str) -> None:
    with pytest.raises(SampleError) as caught:
        vectors(text)
    assert caught.value.code == "empty_text"


def test_half_a_surrogate_pair_is_dropped_with_a_reason() -> None:
    with pytest.raises(SampleError) as caught:
        vectors("broken \ud800 text")
    assert caught.value.code == "encoding"


def test_near_texts_are_near_and_case_does_not_matter() -> None:
    same, shouted, near, far = vectors("set the red light", "SET THE RED LIGHT", "set the red lights", "zwölf Äpfel")
    assert np.array_equal(same, shouted)
    assert same @ near > 0.5
    assert abs(same @ far) < 0.3


def test_words_of_one_letter_and_their_order_count_in_the_first_half() -> None:
    letter, other, turned = vectors("place x now", "place q now", "now x place")[:, :256]
    assert not np.array_equal(letter, other)
    assert not np.array_equal(letter, turned)


def test_the_tenth_mention_says_less_than_the_first() -> None:
    once, often = vectors("yes no", "yes " * 50 + "no")
    assert once @ often > 0.5


def test_a_text_does_not_feel_the_batch_nor_the_extractor_that_read_others_before() -> None:
    texts = ["bin blue at f two now", "I", "... !?", "漢字 かな"]
    together = vectors(*texts)
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(vectors(text)[0], vector)


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="dim = 33"):
        make_extractor("text-ngrams", {"dim": 33})
