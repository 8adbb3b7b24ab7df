from __future__ import annotations

import json

import pytest

from mmpipe.config import EncoderConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

AUDIO = InputSpec(feature="audio-logmel@1", kind=FeatureKind.SEQUENCE, dim=64)
IMAGE = InputSpec(feature="image-hog@1", kind=FeatureKind.VECTOR, dim=9)


def test_json_there_and_back():
    spec = ModelSpec(fusion="concat", inputs=(IMAGE, AUDIO), classes=("no", "yes"), encoder=EncoderConfig(width=8))
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_order_of_inputs_does_not_matter():
    one = ModelSpec(fusion="concat", inputs=(IMAGE, AUDIO), classes=("no", "yes"))
    other = ModelSpec(fusion="concat", inputs=(AUDIO, IMAGE), classes=("no", "yes"))
    assert one == other
    assert one.features == ("audio-logmel@1", "image-hog@1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": ()}, "at least one input"),
        ({"inputs": (AUDIO, AUDIO)}, "each once"),
        ({"classes": ("only",)}, "2 different classes"),
        ({"classes": ("a", "a")}, "2 different classes"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"modality_dropout": -0.1}, "modality_dropout must be in"),
    ],
)
def test_impossible_specs_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        ModelSpec(**{"fusion": "concat", "inputs": (AUDIO, IMAGE), "classes": ("no", "yes"), **changes})


def test_an_input_needs_a_name_without_colons_and_a_size():
    with pytest.raises(ConfigError, match="without colons"):
        InputSpec(feature="a:b", kind=FeatureKind.VECTOR, dim=3)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        InputSpec(feature="a", kind=FeatureKind.VECTOR, dim=0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.pop("classes"),
        lambda table: table.update(surprise=1),
        lambda table: table["encoder"].update(surprise=1),
        lambda table: table["encoder"].update(width=0),
        lambda table: table["inputs"][0].update(kind="cube"),
        lambda table: table["inputs"][0].pop("dim"),
        lambda table: table.update(options=3),
        lambda table: table.update(options={"rank": {1, 2}}),
    ],
)
def test_damaged_json_is_refused(damage):
    table = ModelSpec(fusion="concat", inputs=(AUDIO, IMAGE), classes=("no", "yes")).to_json()
    damage(table)
    with pytest.raises(ConfigError):
        ModelSpec.from_json(table)


def test_an_unknown_key_is_told_with_those_of_its_own_table():
    table = ModelSpec(fusion="concat", inputs=(AUDIO, IMAGE), classes=("no", "yes")).to_json()
    table["encoder"]["surprise"] = 1
    with pytest.raises(ConfigError, match=r"surprise = 1: unknown key; allowed here: .*components, .*width") as error:
        ModelSpec.from_json(table)
    assert "corpora" not in str(error.value)


def test_options_come_back_as_they_went():
    options = {"weights": {"b": 2, "a": 1}, "rank": 3, "cell": "gru", "shares": (0.5, 0.5)}
    spec = ModelSpec(fusion="concat", inputs=(AUDIO, IMAGE), classes=("no", "yes"), options=options)
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
