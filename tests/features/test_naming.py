"""Names of features: an extractor's, or one of one's own; and what is refused."""

from __future__ import annotations

import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.naming import extractor_behind, make_feature, own_name_hint
from mmpipe.features.registry import make_extractor
from mmpipe.types import TextClip

WORDS64 = {"extractor": "text-ngrams", "dim": 64}


def test_a_name_of_its_own_is_another_dataset_with_the_extractors_values() -> None:
    made, plain = make_feature("words64", WORDS64), make_extractor("text-ngrams", {"dim": 64})
    assert isinstance(made, Extractor) and feature_name(made) == made.schema.feature == "words64@1"
    assert fingerprint(made) == fingerprint(plain) != fingerprint(make_extractor("text-ngrams"))
    assert (made.schema.dim, made.modality, made.needs, made.params) == (64, plain.modality, plain.needs, plain.params)
    made.setup("cpu")
    clips = [TextClip(text="a few words")]
    assert (made.extract(clips)[0].array == plain.extract(clips)[0].array).all()
    assert extractor_behind(made).name == "text-ngrams" and extractor_behind(plain) is plain


def test_an_extractors_own_name_may_say_so() -> None:
    assert feature_name(make_feature("text-ngrams", {"extractor": "text-ngrams"})) == "text-ngrams@1"
    assert feature_name(make_feature("text-ngrams")) == "text-ngrams@1"


@pytest.mark.parametrize(
    ("name", "table", "why"),
    [
        (
            "words",
            {"extractor": "words64"},
            r"features.words.extractor = 'words64': no such extractor; there are: array-raw",
        ),
        ("words", {"extractor": 3}, "features.words.extractor = 3: no such extractor"),
        ("audio-logmel", {"extractor": "text-ngrams"}, "'audio-logmel' is an extractor itself"),
        ("words", {"extractor": "text-ngrams", "dims": 3}, "features.words: 1 fault.*\n.*dims = 3: unknown parameter"),
        ("words", {}, r"no extractor named 'words'.*\[features.words\] extractor = "),
    ],
)
def test_what_names_nothing_is_refused_with_the_key(name: str, table: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_feature(name, table)


def test_the_way_out_names_a_name_that_is_free() -> None:
    assert '[features.text-ngrams-2] with extractor = "text-ngrams"' in own_name_hint(make_feature("text-ngrams"))
    second = make_feature("text-ngrams-2", WORDS64)
    assert '[features.text-ngrams-3] with extractor = "text-ngrams"' in own_name_hint(second)
