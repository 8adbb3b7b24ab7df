"""`text-ngrams`: hashed words and letter groups, without anything fitted, so that a text's vector never changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from pydantic import Field

from mmpipe.config import Table
from mmpipe.errors import SampleError
from mmpipe.features.extractor import expect_media
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, TextClip, TextNeeds


class TextNgramsParams(Table):
    """How many buckets the n-grams are hashed into."""

    dim: int = Field(512, ge=16, le=8192, multiple_of=2, description="half for words, half for letters inside words")


class TextNgrams:
    """Words (1-2) in the first half, letters (2-5) in the second: sublinear counts, each half of length 1, then all."""

    name = "text-ngrams"
    version = 1
    modality = Modality.TEXT
    weights_sha256 = ""
    Params = TextNgramsParams

    def __init__(self, params: TextNgramsParams) -> None:
        self.params = params
        self.needs = TextNeeds()
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=params.dim,
            description="hashed counts of word 1-2grams and of letter 2-5grams inside words",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector of length 1 per text; raise SampleError for a text without a character."""
        return [self._describe(expect_media(media, TextClip, self.name)) for media in batch]

    def _describe(self, clip: TextClip) -> FeatureValue:
        if not clip.text.strip():
            raise SampleError("empty_text", "the text holds nothing but space")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in clip.text):
            raise SampleError("encoding", "the text holds half of a surrogate pair, which no encoding can write")
        halves = [_unit(_sublinear(hasher.transform([clip.text]).toarray()[0])) for hasher in self._hashers]
        return FeatureValue(array=_unit(np.concatenate(halves)).astype(np.float32))

    @cached_property
    def _hashers(self) -> tuple:
        """Return the hashers of words and of letters; they are stateless."""
        from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

        half = self.params.dim // 2
        # Words of one letter count too: scikit-learn's own pattern would lose "a" and "I", and spelled letters.
        words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", n_features=half, norm=None)
        letters = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=half, norm=None)
        return words, letters


def _sublinear(counts: np.ndarray) -> np.ndarray:
    """Return sign * (1 + log |count|) where there is a count: the tenth mention says less than the first."""
    size = np.abs(counts)
    return np.sign(counts) * (1 + np.log(np.maximum(size, 1)))


def _unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector at length 1; one of zeros stays."""
    norm = np.sqrt(np.square(vector).sum())
    return vector / norm if norm else vector
