"""How a text is made: its words, its letters, how much it repeats itself.

The measures are those of the rules for Gopher's training text (Rae et al. 2021, appendix A.1.1).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.signals.stop_words import STOP_WORDS

# Letters, marks and digits of any script; an apostrophe or hyphen within a word belongs to it.
_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_REPEATED_WORDS = 5  # the shortest n-gram of Gopher's duplicate rule: what repeats in longer ones repeats in these


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuality:
    """What a text is made of; the mean and the shares are 0 for a text without words."""

    num_characters: int
    num_words: int
    mean_word_length: float
    letter_share: float  # of the characters that are not white space
    stop_word_share: float  # of the words; of the language that was named
    repetition_share: float  # of the words' characters, in n-grams of five words that were there before


def describe_text(text: str, language: str = "", stop_words: Mapping[str, frozenset[str]] = STOP_WORDS) -> TextQuality:
    """Return the measures of a text."""
    words = split_words(text)
    dense = "".join(text.split())
    told = sum(word in stop_words.get(language, frozenset()) for word in words)
    return TextQuality(
        num_characters=len(text),
        num_words=len(words),
        mean_word_length=sum(map(len, words)) / max(len(words), 1),
        letter_share=sum(map(str.isalpha, dense)) / max(len(dense), 1),
        stop_word_share=told / max(len(words), 1),
        repetition_share=repetition_share(words),
    )


def clean_words(
    text: str, language: str = "", stop_words: Mapping[str, frozenset[str]] = STOP_WORDS
) -> tuple[str, ...]:
    """Return the words of a text in small letters, without the stop words of its language."""
    told = stop_words.get(language, frozenset())
    return tuple(word for word in split_words(text) if word not in told)


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in small letters; scripts without spaces give whole phrases."""
    return tuple(_WORD.findall(unicodedata.normalize("NFC", text).lower()))


def one_line(text: str) -> str:
    """Return a text in NFC with single spaces, without control characters and halves of surrogate pairs."""
    plain = (" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text)
    return " ".join(unicodedata.normalize("NFC", "".join(plain)).split())


def repetition_share(words: Sequence[str], size: int = _REPEATED_WORDS) -> float:
    """Return the share of the words' characters that lie in n-grams which the text had before; 0 under `size` words."""
    seen: set[tuple[str, ...]] = set()
    repeated = np.zeros(len(words), np.bool_)
    for first in range(len(words) - size + 1):
        gram = tuple(words[first : first + size])
        if gram in seen:
            repeated[first : first + size] = True
        seen.add(gram)
    lengths = np.array([len(word) for word in words], np.int64)
    return float(lengths[repeated].sum() / max(lengths.sum(), 1))
