"""Groups of weights: those that a config may name are those that a network has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mmpipe.config import STAGES, BackboneConfig, EncoderConfig, FinetuneConfig, ModelConfig, group_names
from mmpipe.fusion.groups import begins_with_weights, narrowest, parameter_groups
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

BERT = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
INPUTS = {
    "video-pixels.clean": (FeatureKind.SEQUENCE, 32 * 32 * 3),
    "text-tokens": (FeatureKind.SEQUENCE, 1),
    "audio-logmel": (FeatureKind.SEQUENCE, 12),
}
BY_KIND = {
    "vgg16": BackboneConfig(kind="vgg16"),
    "resnet50": BackboneConfig(kind="resnet50"),
    "small_cnn": BackboneConfig(kind="small_cnn"),
}


def encoders_of(kind: str) -> dict[str, EncoderConfig]:
    return {
        "video-pixels.clean": EncoderConfig(backbone=BY_KIND[kind], kind="lstm", steps=2, width=8),
        "text-tokens": EncoderConfig(
            backbone=BackboneConfig(kind="bert", architecture=BERT), kind="gru", steps=4, width=8
        ),
    }


def network(kind: str) -> FusionModel:
    spec = ModelSpec(
        fusion="concat",
        inputs=tuple(InputSpec(feature=f"{name}@1", kind=of, dim=dim) for name, (of, dim) in INPUTS.items()),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8),
        encoders={f"{name}@1": config for name, config in encoders_of(kind).items()},
    )
    with torch.device("meta"):
        return FusionModel(spec)


@pytest.mark.parametrize("kind", list(BY_KIND))
def test_every_group_that_a_config_may_name_has_weights_and_no_weight_is_in_another(kind: str) -> None:
    groups = parameter_groups(network(kind))
    assert {group for of in groups.values() for group in of} == set(group_names(INPUTS, encoders_of(kind)))
    assert set(groups) == {name for name, _ in network(kind).named_parameters()}
    for name, of in groups.items():
        assert [len(group) for group in of] == sorted(len(group) for group in of), name
    stages = [f"encoders.video-pixels.clean.backbone.{stage}" for stage in STAGES[BY_KIND[kind].kind]]
    seen = [narrowest(of, stages) for of in groups.values()]
    assert [stage for n, stage in enumerate(seen) if stage and stage not in seen[:n]] == stages, "from input to output"


def test_a_stage_of_vgg_lies_between_two_poolings() -> None:
    groups = parameter_groups(network("vgg16"))
    name = "encoders.video-pixels:clean@1.backbone.network.features.{}.weight"
    found = [groups[name.format(place)][-1].rpartition(".")[2] for place in (0, 2, 5, 10, 14, 17, 28)]
    assert found == ["stage1", "stage1", "stage2", "stage3", "stage3", "stage4", "stage5"]


def test_the_narrowest_of_some_groups() -> None:
    of = ("encoders", "encoders.a", "encoders.a.backbone")
    assert narrowest(of, {"encoders.a": 1, "encoders": 2}) == "encoders.a"
    assert narrowest(of, {"fusion"}) is None


def model(finetune: dict[str, Any], **more: Any) -> ModelConfig:
    encoders = {name: config.model_dump() for name, config in encoders_of("resnet50").items()}
    table = {"corpus": "street", "target": "who", "inputs": tuple(INPUTS), "encoder": {"width": 8}}
    return ModelConfig(**{**table, "encoders": encoders, "finetune": finetune, **more})


@pytest.mark.parametrize(
    "finetune",
    [
        {"freeze": ["encoders.video-pixels.clean.backbone.layer1", "fusion", "head"]},
        {"freeze": ["encoders", "unimodal_heads"], "unfreeze": {"encoders.audio-logmel": 5}},
        {"rates": {"encoders.text-tokens.backbone.layer1": 0.1, "unimodal_heads.text-tokens": 2}},
        {"lora": {"groups": ["encoders.text-tokens.backbone"]}},
        {"begin_from": "release:who@3", "focus": "weak"},
        {"begin_from": "release:who@3-0a1b2c3d"},
    ],
)
def test_what_may_be_said(finetune: dict[str, Any]) -> None:
    assert model(finetune).finetune.is_used


@pytest.mark.parametrize(
    ("finetune", "said"),
    [
        (
            {"freeze": ["encoders.audio-mfcc"]},
            r"freeze names the group 'encoders.audio-mfcc'; the groups are: encoders, ",
        ),
        ({"unfreeze": {"body": 2}}, r"unfreeze names the group 'body'.*unimodal_heads.audio-logmel, fusion, head"),
        ({"rates": {"encoders.audio-logmel.backbone": 2}}, "rates names the group 'encoders.audio-logmel.backbone'"),
        ({"freeze": ["encoders.video-pixels.clean.backbone.layer5"]}, r"backbone.stem, .*backbone.layer4"),
        ({"lora": {"groups": ["encoder"]}}, "lora.groups names the group 'encoder'"),
        ({"unfreeze": {"head": 0}}, "epochs are counted from 1"),
        ({"unfreeze": {"head": 61}}, "train.epochs is 60, so they would never learn"),
        ({"rates": {"head": 0}}, "to leave a group as it begins, name it in `freeze`"),
        ({"begin_from": "release:who@production"}, "An alias such as @production moves"),
        ({"begin_from": "who@3"}, "write release:NAME@3"),
        ({"focus": "weak"}, "focus needs begin_from"),
        ({"begin_from": "release:who@3", "focus": "weak", "freeze": ["head"]}, "focus freezes by itself"),
    ],
)
def test_what_may_not_be_said_is_a_fault_of_the_config(finetune: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model(finetune)


@pytest.mark.parametrize("finetune", [{"lora": {"groups": ["encoders"]}}, {"unfreeze": {"encoders.text-tokens": 3}}])
def test_a_backbone_that_its_own_table_freezes_can_still_be_around(finetune: dict[str, Any]) -> None:
    """Only what names that very backbone contradicts it."""
    frozen = {"backbone": {"kind": "bert", "architecture": BERT, "frozen": True}, "kind": "gru", "width": 8}
    assert model(finetune, encoders={"text-tokens": frozen}).finetune.is_used
    with pytest.raises(ValidationError, match="frozen = true keeps its weights, and this lets them learn"):
        model({"unfreeze": {"encoders.text-tokens.backbone.layer0": 3}}, encoders={"text-tokens": frozen})
    with pytest.raises(ValidationError, match="leave it out"):
        model({"lora": {"groups": ["encoders.text-tokens.backbone"]}}, encoders={"text-tokens": frozen})


def test_a_single_input_has_no_fusion_and_a_bert_from_weights_any_layer() -> None:
    assert group_names(("audio-logmel",), {}) == ("encoders", "encoders.audio-logmel", "head")
    told = {"backbone": {"kind": "bert", "weights": "./bert"}, "kind": "gru", "width": 8}
    finetune = {"freeze": ["encoders.text-tokens.backbone.layer20"]}
    assert model(finetune, encoders={"text-tokens": told}).finetune.freeze


def test_a_config_without_the_table_has_the_digest_that_it_had() -> None:
    plain = model({})
    assert "finetune" in plain.left_out() and plain.finetune == FinetuneConfig()
    assert "finetune" not in plain.model_dump(exclude=plain.left_out())
    assert "finetune" in model({"freeze": ["head"]}).model_dump(exclude=model({"freeze": ["head"]}).left_out())


def test_a_backbone_from_weights_never_begins_at_random() -> None:
    model = network("resnet50")
    names = list(parameter_groups(model))
    assert not [name for name in names if begins_with_weights(model, name)]
    feature = "video-pixels.clean@1"
    own = model.spec.encoders[feature]
    backbone = own.backbone.model_copy(update={"weights": "./resnet50.safetensors"})
    model.spec.encoders[feature] = own.model_copy(update={"backbone": backbone})
    found = {name for name in names if begins_with_weights(model, name)}
    assert found == {name for name in names if name.startswith("encoders.video-pixels:clean@1.backbone.")}
