"""What can be chosen about a fusion: from the config to the file of a trained network, and what is refused."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from mmpipe.config import ModelConfig, parse_config
from mmpipe.errors import ConfigError
from mmpipe.fusion.check import check_network
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import fusion_names, make_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

AUDIO = InputSpec(feature="audio-logmel.clean@1", kind=FeatureKind.SEQUENCE, dim=6)
IMAGE = InputSpec(feature="image-hog@2", kind=FeatureKind.VECTOR, dim=9)
VIDEO = InputSpec(feature="video-hog@1", kind=FeatureKind.SEQUENCE, dim=5)
ALL = (AUDIO, IMAGE, VIDEO)
TOML = """
[corpora.street]
root = "street"
[corpora.street.renditions.clean]
modality = "audio"
filters = ["highpass=f=200"]
[models.who]
corpus = "street"
target = "who"
inputs = ["audio-logmel.clean", "image-hog", "video-hog"]
fusions = ["early_weighted", "lmf", "early_concat", "concat"]
[models.who.fusion_options.lmf]
rank = 3
[models.who.fusion_options.early_concat]
cell = "lstm"
layers = 2
[models.who.fusion_options.early_weighted.weights]
"audio-logmel.clean" = 5
image-hog = 3
video-hog = 2
"""


def spec_of(fusion: str, inputs: tuple[InputSpec, ...] = ALL, *, embedding: int = 8, **options: Any) -> ModelSpec:
    encoder = ModelConfig.model_fields["encoder"].default.model_copy(update={"width": embedding, "segments": 2})
    return ModelSpec(fusion=fusion, inputs=inputs, classes=("a", "b"), encoder=encoder, options=options)


def model_config(text: str = TOML) -> ModelConfig:
    return parse_config(tomllib.loads(text)).models["who"]


@pytest.mark.parametrize("fusion", ["early_weighted", "lmf", "early_concat", "concat"])
def test_options_go_from_the_config_into_the_files_of_a_network_and_back(fusion: str, tmp_path: Path) -> None:
    options: dict[str, Any] = dict(model_config().fusion_options.get(fusion, {}))
    model = FusionModel(spec_of(fusion, **options)).eval()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.spec == model.spec
    assert ("options" in json.loads((tmp_path / "config.json").read_bytes())["spec"]) is (fusion != "concat")
    features = {e.feature: (torch.randn(2, 3, e.dim), torch.ones(2, 3, dtype=torch.bool)) for e in model.spec.inputs}
    assert torch.equal(loaded(features).logits_BK, model(features).logits_BK)


def built(fusion: str, **options: Any) -> Any:
    return make_fusion(spec_of(fusion, **options))


def test_options_change_the_network() -> None:
    chosen = model_config().fusion_options
    assert built("lmf", **chosen["lmf"]).factors_RED[0].shape[0] == 3
    reader = built("early_concat", **chosen["early_concat"]).reader
    assert len([part for part in reader.modules() if isinstance(part, torch.nn.LSTM)]) == 2
    assert len(built("deep", layers=5).central) == 5
    assert built("tfn", width=3).z_dim == 4**3
    fixed = built("early_weighted", **chosen["early_weighted"])
    assert not list(fixed.parameters()) and fixed.mixing == () and not fixed.state_dict()
    torch.testing.assert_close(fixed.scores_M.softmax(0), torch.tensor([0.5, 0.3, 0.2]))
    assert make_fusion(spec_of("late_weighted", weights={"audio-logmel.clean": 1, "image-hog@2": 1, "video-hog": 1}))


def test_a_model_without_options_has_the_spec_and_the_digest_that_it_had_before_there_were_any() -> None:
    assert set(spec_of("lmf").to_json()) == {
        *("fusion", "inputs", "classes", "encoder", "dropout", "modality_dropout"),
    }
    plain = model_config(TOML.partition("[models.who.fusion_options")[0])
    assert plain.left_out()["fusion_options"] is True
    assert '"fusion_options"' not in plain.model_dump_json(exclude=plain.left_out())
    chosen = model_config()
    assert '"lmf":{"rank":3}' in chosen.model_dump_json(exclude=chosen.left_out())


def test_the_order_in_which_options_are_written_does_not_matter() -> None:
    one, other = spec_of("early_concat", cell="gru", layers=2), spec_of("early_concat", layers=2, cell="gru")
    assert one == other and json.dumps(one.to_json()) == json.dumps(other.to_json())


@pytest.mark.parametrize(
    ("fusion", "options", "said"),
    [
        ("lmf", {"rang": 3}, r"^fusion_options\.lmf: 1 fault\(s\)\n  rang = 3: unknown key; allowed here: rank$"),
        ("lmf", {"rank": 0}, r"fusion_options\.lmf.*\n  rank = 0: Input should be greater than or equal to 1"),
        ("early_concat", {"cell": "rnn"}, "cell = 'rnn': Input should be 'gru', 'lstm' or 'transformer'"),
        ("early_concat", {"depth": 2}, "depth = 2: unknown key; allowed here: cell, layers$"),
        ("concat", {"rank": 3}, "rank = 3: unknown key; there is nothing to set here$"),
        (
            "early_weighted",
            {"weights": {"audio-logmel.clean": 1}},
            "every input exactly once.*image-hog@2.*to have them",
        ),
        ("early_weighted", {"weights": {"a": 1, "image-hog": 1, "video-hog": 1}}, "needs every input exactly once"),
        ("late_weighted", {"weights": {"a": -1}}, r"weights\.a = -1: Input should be greater than 0"),
        ("late_weighted", {"weights": {"a": 0}}, r"weights\.a = 0: Input should be greater than 0"),
        ("late_weighted", {"weights": [0.5, 0.5]}, r"weights = \[0.5, 0.5\]: Input should be a valid"),
    ],
)
def test_what_a_fusion_does_not_take_is_refused_with_what_it_takes(
    fusion: str, options: dict[str, Any], said: str
) -> None:
    for build in (make_fusion, check_network):
        with pytest.raises(ConfigError) as error:
            build(spec_of(fusion, **options))
        assert re.search(said, str(error.value)), error.value


def test_an_input_has_one_weight_under_one_name() -> None:
    twice = {"audio-logmel.clean": 1, "audio-logmel.clean@1": 1, "image-hog": 1, "video-hog": 1}
    with pytest.raises(ConfigError, match="every input exactly once"):
        make_fusion(spec_of("early_weighted", weights=twice))


def test_options_of_a_fusion_that_does_not_compete_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"fusion_options of \['gmu'\], which are not among `fusions`"):
        model_config(TOML.replace("fusion_options.lmf", "fusion_options.gmu"))


def test_options_that_no_file_could_hold_are_refused() -> None:
    for value in (float("nan"), {1, 2}, torch.zeros(2)):
        with pytest.raises(ConfigError, match="must be a table of plain values"):
            spec_of("lmf", rank=value)


def test_a_tensor_that_would_be_too_large_is_refused_with_two_ways_out() -> None:
    with pytest.raises(ConfigError, match=r"\(64 \+ 1\)\^3 = 274,625.*at most 16,384.*tfn\.width = 24 or less.*'lmf'"):
        make_fusion(spec_of("tfn", embedding=64))
    assert make_fusion(ModelSpec(**{**vars_of(spec_of("tfn", embedding=64)), "options": {"width": 24}})).z_dim == 25**3
    many = tuple(InputSpec(feature=f"f{n}", kind=FeatureKind.VECTOR, dim=2) for n in range(15))
    with pytest.raises(ConfigError, match="are allowed: use 'lmf'"):
        make_fusion(spec_of("tfn", many))


def vars_of(spec: ModelSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in ("fusion", "inputs", "classes", "encoder")}


@pytest.mark.parametrize("fusion", [name for name in fusion_names() if not name.startswith("test_")])
def test_a_check_takes_no_memory_and_draws_nothing(fusion: str) -> None:
    before = torch.get_rng_state()
    check_network(spec_of(fusion, (AUDIO,) if fusion == "unimodal" else ALL))
    assert torch.equal(torch.get_rng_state(), before)
