from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import Field

from mmpipe.config import Table
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.registry import extractor_names, make_extractor
from mmpipe.types import (
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    ImageClip,
    Modality,
    TextClip,
    TextNeeds,
)


class LengthParams(Table):
    scale: float = Field(1.0, gt=0)


class Length:
    """The smallest extractor that there can be."""

    name = "text-length"
    modality = Modality.TEXT
    needs = TextNeeds()

    def __init__(
        self, params: LengthParams, version: int = 1, dtype: str = "float32", weights_sha256: str = ""
    ) -> None:
        self.params = params
        self.version = version
        self.weights_sha256 = weights_sha256
        self.schema = FeatureSchema(
            feature=f"text-length@{version}", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=1, dtype=dtype
        )

    def setup(self, device: str) -> None:
        """Load nothing."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        return [FeatureValue(array=np.zeros(1, np.float32)) for _ in batch]


def test_anything_with_the_members_is_an_extractor() -> None:
    assert isinstance(Length(LengthParams()), Extractor)
    assert feature_name(Length(LengthParams(), version=3)) == "text-length@3"


def test_a_fingerprint_changes_with_what_changes_values_and_with_nothing_else() -> None:
    base = fingerprint(Length(LengthParams()))
    assert base == fingerprint(Length(LengthParams(scale=1)))
    others = [
        Length(LengthParams(scale=2.0)),
        Length(LengthParams(), version=2),
        Length(LengthParams(), dtype="float16"),
        Length(LengthParams(), weights_sha256="ab"),
    ]
    assert len({base, *map(fingerprint, others)}) == 5


@pytest.mark.parametrize("name", ["audio-logmel", "audio-mfccseg", "image-hogdct", "text-ngrams", "video-hogdct"])
def test_a_built_in_extractor_keeps_its_promises(name: str) -> None:
    extractor = make_extractor(name)
    assert isinstance(extractor, Extractor)
    assert name in extractor_names()
    assert feature_name(extractor) == extractor.schema.feature == f"{name}@1"
    assert extractor.schema.dtype == "float32"
    assert extractor.schema.modality is extractor.modality
    assert name.startswith(extractor.modality.value)
    assert fingerprint(extractor) == fingerprint(make_extractor(name))
    assert all(field.description for field in type(extractor.params).model_fields.values())
    extractor.setup("cpu")
    assert extractor.extract([]) == []


def test_a_fingerprint_before_and_after_use_is_the_same() -> None:
    extractor = make_extractor("text-ngrams")
    before = fingerprint(extractor)
    extractor.extract([TextClip(text="hello")])
    assert fingerprint(extractor) == before


def test_media_of_another_kind_are_the_callers_mistake() -> None:
    with pytest.raises(TypeError, match="text-ngrams reads TextClip, got ImageClip"):
        make_extractor("text-ngrams").extract([ImageClip(image=np.zeros((2, 2), np.uint8))])
