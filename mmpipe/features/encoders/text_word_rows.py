"""From the tokens of a text to its words: which word a token is of, and one row per word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.weights.loading import quiet_transformers


def token_words(tokenizer: Any, texts: Sequence[str], most: int, table: str) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ids of every text, cut to `most`, and of each token the word that it is of, -1 for special ones.

    Words are what stands between single blanks. Raise ConfigError where the tokenizer does not say where tokens are.
    """
    with quiet_transformers():
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f'{table}.pool = "words" needs a fast tokenizer (tokenizer.json), which says where it cut'
            )
        found = tokenizer(list(texts), truncation=True, max_length=most, return_offsets_mapping=True)
    words = [_words_of(text, spans) for text, spans in zip(texts, found["offset_mapping"], strict=True)]
    return found["input_ids"], words


def word_rows(rows_TW: np.ndarray, words: Sequence[int], num_words: int, *, is_cut: bool) -> np.ndarray:
    """Return the mean of each word's tokens, [words, W]; zeros for one of which the tokenizer made nothing.

    A text that was cut ends with the last word that has a token.
    """
    words_T = np.asarray(words, dtype=np.int64)
    rows = max(int(words_T.max(initial=-1)) + 1, 1) if is_cut else num_words
    is_word_T = words_T >= 0
    sums_NW = np.zeros((rows, rows_TW.shape[1]), dtype=np.float32)
    np.add.at(sums_NW, words_T[is_word_T], rows_TW[: len(words_T)][is_word_T].astype(np.float32))
    counts_N = np.bincount(words_T[is_word_T], minlength=rows)
    return sums_NW / np.maximum(counts_N, 1)[:, None]


def _words_of(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return the word of each token by its last letter: byte-level tokenizers begin one with the blank before it."""
    word_of_letter = np.cumsum(np.array([character == " " for character in text], dtype=np.int64))
    return [int(word_of_letter[end - 1]) if end > start else -1 for start, end in spans]
