"""Which word a token is of, and a row per word."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.text_word_rows import token_words, word_rows

TEXT = "New York's fine"


class Fast:
    """A tokenizer that cut the text in a given way."""

    is_fast = True

    def __init__(self, *spans: tuple[int, int]) -> None:
        self.spans = list(spans)

    def __call__(self, texts: list[str], **how: object) -> dict[str, list]:
        assert how["return_offsets_mapping"] and how["max_length"] == 9
        return {"input_ids": [list(range(len(self.spans)))] * len(texts), "offset_mapping": [self.spans] * len(texts)}


@pytest.mark.parametrize(
    "spans",
    [
        ((0, 0), (0, 3), (4, 8), (8, 10), (11, 15), (0, 0)),  # as BERT: marks around, letters alone
        ((0, 0), (0, 3), (3, 8), (8, 10), (10, 15), (0, 0)),  # as RoBERTa: a token begins with its blank
    ],
)
def test_a_token_is_of_the_word_of_its_last_letter(spans: tuple[tuple[int, int], ...]) -> None:
    ids, words = token_words(Fast(*spans), [TEXT], 9, "features.text-hf")
    assert ids == [[0, 1, 2, 3, 4, 5]] and words == [[-1, 0, 1, 1, 2, -1]]


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'features.text-hf.pool = "words" needs a fast tokenizer'):
        token_words(SimpleNamespace(is_fast=False), [TEXT], 9, "features.text-hf")


def test_a_word_is_the_mean_of_its_tokens_and_one_without_any_is_zero() -> None:
    rows_TW = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = word_rows(rows_TW, [-1, 0, 0, 2, -1], 4, is_cut=False)
    assert found.tolist() == [[3, 4], [0, 0], [6, 7], [0, 0]]
    assert word_rows(rows_TW, [-1, 0, 0, 2, -1], 4, is_cut=True).tolist() == found.tolist()[:3]
    assert word_rows(rows_TW, [], 1, is_cut=False).tolist() == [[0, 0]]
