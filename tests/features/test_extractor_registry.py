from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import check_params, default_features, extractor_names, make_extractor

BUILT_IN = ("audio-logmel", "audio-mfccseg", "image-hogdct", "text-ngrams", "video-hogdct")


def test_names_are_sorted_and_the_built_in_ones_are_the_default() -> None:
    assert default_features() == BUILT_IN
    assert set(BUILT_IN) <= set(extractor_names())
    assert list(extractor_names()) == sorted(extractor_names())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        make_extractor("audio-lagmel")
    assert "'audio-lagmel'" in str(caught.value)
    assert all(name in str(caught.value) for name in BUILT_IN)


def test_an_unknown_parameter_is_answered_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        make_extractor("audio-logmel", {"num_mel": 64, "hop_s": -1})
    text = str(caught.value)
    assert "features.audio-logmel: 2 fault(s)" in text
    assert "num_mel = 64: unknown parameter; allowed here: floor, hop_s, num_mels, sample_rate_hz, window_s" in text
    assert "hop_s = -1: Input should be greater than or equal to 0.001" in text


def test_parameters_are_frozen() -> None:
    extractor = make_extractor("image-hogdct", {"cells": 6})
    with pytest.raises(ValidationError, match="frozen"):
        extractor.params.cells = 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("batch", ["many", 0, True, 1.5])
def test_a_batch_that_is_none_is_told_what_is_allowed(batch: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f'batch = {batch!r}: must be "auto" or a whole number from 1 to ')):
        make_extractor("image-resnet50", {"batch": batch})
    fewer = make_extractor("image-resnet50", {"batch": 7})
    assert "batch=7" in repr(fewer.params) and fingerprint(fewer) == fingerprint(make_extractor("image-resnet50"))


@pytest.mark.parametrize(
    ("name", "key"), [("image-resnet50", "compile"), ("video-resnet50", "only_keyframes"), ("text-tokens", "special")]
)
def test_no_word_stands_for_true(name: str, key: str) -> None:
    for value in ("yes", "on", 1):
        with pytest.raises(ConfigError, match=re.escape(f"{key} = {value!r}: must be true or false")):
            make_extractor(name, {key: value})


def test_words_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_FEATURES__image-resnet50__compile", "true")
    monkeypatch.setenv("MMPIPE_FEATURES__image-resnet50__batch", "7")
    said = repr(make_extractor("image-resnet50", parse_config({}).features["image-resnet50"]).params)
    assert "compile=True" in said and "batch=7" in said


def test_parameters_are_checked_without_looking_for_a_model() -> None:
    check_params("text-hf", {"model": "./nowhere"})
    with pytest.raises(ConfigError, match=r"modle = '\./nowhere': unknown parameter"):
        check_params("text-hf", {"modle": "./nowhere"})
