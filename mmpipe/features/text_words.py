"""`text-words`: a row for every word of a text, from its letters alone: for tags that stand on words.

Nothing is fitted and there are no weights, so a word never seen before has a value as good as any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from pydantic import Field

from mmpipe.config import Table
from mmpipe.features.encoders.text_input import require_text
from mmpipe.features.extractor import expect_media
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, TextClip, TextNeeds

_GRAMS = range(2, 6)  # letters, with the marks < and > at the ends of a word
_CELLS = 2  # that a group of letters lies in: two that meet in one cell rarely meet in both
_SHAPES = 12
_LONGEST = 64  # letters of a word that are looked at: its first and last 32


class TextWordsParams(Table):
    """How many numbers a word becomes."""

    dim: int = Field(
        128, ge=64, le=1024, multiple_of=2, description="half for the word and its letters, half for the word alone"
    )


class TextWords:
    """Rows [T words, dim + 15], one per word: what stands between white space. A word's time is its place: 0, 1, 2, ...

    First half of `dim`: the groups of 2 to 5 letters of the word in small letters, each added with a sign into cells
    that its hash names (Weinberger et al. 2009; Bojanowski et al. 2017 for the groups), at length 1: words of like
    letters are near. Second half: a sign per number by a hash of the word, at length 1: different words are far. Then
    what the writing shows (capitals, digits, signs, length), and where the word stands: first, last, share of the way.
    """

    name = "text-words"
    version = 1
    modality = Modality.TEXT
    weights_sha256 = ""
    Params = TextWordsParams

    def __init__(self, params: TextWordsParams) -> None:
        self.params = params
        self.needs = TextNeeds()
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.dim + _SHAPES + 3,
            description="per word: hashed letter 2-5grams, a hash of the word, its shape, its place",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a row per word of each text; raise SampleError for a text without a character."""
        return [self._rows(require_text(expect_media(media, TextClip, self.name).text).split()) for media in batch]

    def _rows(self, words: Sequence[str]) -> FeatureValue:
        place_T = np.arange(len(words))
        last = len(words) - 1
        places_T3 = np.stack([place_T == 0, place_T == last, place_T / max(last, 1)], axis=1)
        rows_TD = np.stack([_word_row(word, self.params.dim // 2) for word in words])
        array = np.concatenate([rows_TD, places_T3], axis=1).astype(np.float32)
        return FeatureValue(array=array, times_ns=place_T.astype(np.int64))


@lru_cache(maxsize=1 << 16)
def _word_row(word: str, half: int) -> np.ndarray:
    low = word.lower()
    return np.concatenate([_unit(_letters(low, half)), _unit(_own_signs(low, half)), _shape(word)])


def _letters(word: str, size: int) -> np.ndarray:
    cells = np.zeros(size)
    for gram in _groups(word):
        number = int.from_bytes(_hash(b"letters", gram))
        for _ in range(_CELLS):
            number, sign = divmod(number, 2)
            number, cell = divmod(number, size)
            cells[cell] += 2 * sign - 1
    return cells


def _groups(word: str) -> Iterator[str]:
    """Yield the groups of neighbouring letters of a word, and the word itself."""
    if len(word) > _LONGEST:
        word = word[: _LONGEST // 2] + word[-_LONGEST // 2 :]
    marked = f"<{word}>"
    yield marked
    for size in _GRAMS:
        yield from (marked[start : start + size] for start in range(len(marked) - size + 1))


def _own_signs(word: str, size: int) -> np.ndarray:
    data = b"".join(_hash(b"word %d" % block, word) for block in range(-(-size // 128)))
    return np.unpackbits(np.frombuffer(data, np.uint8))[:size] * 2.0 - 1


def _shape(word: str) -> np.ndarray:
    """Return what the writing shows, 0 or 1 each, and the length on a scale that ends near 1."""
    is_letter = [character.isalpha() for character in word]
    is_digit = [character.isdigit() for character in word]
    is_sign = [not (letter or digit) for letter, digit in zip(is_letter, is_digit, strict=True)]
    flags = (
        word[0].isupper(),
        word.isupper() and len(word) > 1,
        any(character.isupper() for character in word[1:]) and not word.isupper(),
        word.islower(),
        any(is_digit),
        all(is_digit),
        any(is_sign),
        all(is_sign),
        word[0] in "#@",
        "-" in word[1:-1],
        "://" in word or word.lower().startswith("www."),
    )
    return np.array([*flags, np.log2(1 + min(len(word), 31)) / 5], dtype=np.float64)


def _hash(kind: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16, person=kind).digest()


def _unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector at length 1; one of zeros stays."""
    norm = np.sqrt(np.square(vector).sum())
    return vector / norm if norm else vector
