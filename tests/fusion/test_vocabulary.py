"""Words and characters as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.config.generating import Unit
from mmpipe.errors import ConfigError
from mmpipe.fusion.decoding.vocabulary import ENDS, Vocabulary

TEXTS = ["lay red now", "bin  blue at f ", "lay blue"]


def test_words_are_sorted_behind_the_end() -> None:
    vocabulary = Vocabulary.of(TEXTS, Unit.WORD)
    assert vocabulary.tokens == (ENDS[Unit.WORD], "at", "bin", "blue", "f", "lay", "now", "red")
    assert Vocabulary.of(reversed(TEXTS), Unit.WORD) == vocabulary


@pytest.mark.parametrize("unit", Unit)
def test_texts_come_back_but_for_their_white_space(unit: Unit) -> None:
    vocabulary = Vocabulary.of(TEXTS, unit)
    assert vocabulary.unit is unit
    assert vocabulary.decode(vocabulary.encode(TEXTS)) == ("lay red now", "bin blue at f", "lay blue")


def test_numbers_end_with_the_end_and_padding() -> None:
    ids_NT = Vocabulary.of(["b", "a b"], Unit.WORD).encode(["b", "a b"])
    assert ids_NT.dtype == np.int64
    assert ids_NT.tolist() == [[2, 0, -1], [1, 2, 0]]


def test_what_was_cut_off_and_what_is_behind_the_end_are_read() -> None:
    vocabulary = Vocabulary.of(["a b"], Unit.WORD)
    assert vocabulary.decode(np.array([[1, 2, 1], [2, 0, 1], [0, -1, -1]])) == ("a b a", "b", "")


def test_a_text_must_not_hold_the_end() -> None:
    with pytest.raises(ConfigError, match="the word '<end>'"):
        Vocabulary.of(["the <end>"], Unit.WORD)
    with pytest.raises(ConfigError, match="then tokens, each once"):
        Vocabulary(tokens=(ENDS[Unit.WORD],))
