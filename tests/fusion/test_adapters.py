"""Adapters: beside linear layers alone, silent at first, and merged into plain weights that say the same."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from mmpipe.config import BackboneConfig, EncoderConfig, LoraConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.adapters import adapted_layers, add_adapters, is_adapter, merge_adapters, plain_name
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

BERT = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TOKENS = InputSpec(feature="text-tokens@1", kind=FeatureKind.SEQUENCE, dim=1)
SOUND = InputSpec(feature="audio-logmel.clean@1", kind=FeatureKind.SEQUENCE, dim=12)
BACKBONE = "encoders.text-tokens.backbone"


def network() -> FusionModel:
    torch.manual_seed(0)
    bert = EncoderConfig(backbone=BackboneConfig(kind="bert", architecture=BERT), kind="gru", steps=4, width=8)
    spec = ModelSpec(
        fusion="transformer",
        inputs=(TOKENS, SOUND),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8, components=4),
        encoders={TOKENS.feature: bert},
    )
    return FusionModel(spec).eval()


def clips(count: int = 5):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 40, (count, 6, 1), generator=generator).float()
    sound = torch.randn(count, 9, 12, generator=generator)
    here = torch.ones(count, 9, dtype=torch.bool)
    return {TOKENS.feature: (ids, here[:, :6]), SOUND.feature: (sound, here)}


@pytest.fixture
def adapted() -> FusionModel:
    model = network()
    add_adapters(model, LoraConfig(rank=4, alpha=8, groups=(BACKBONE, "fusion", "encoders.audio-logmel.clean")))
    return model


def teach(model: FusionModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def test_linear_layers_of_the_groups_alone_get_adapters(adapted):
    layers = {name.partition(".lora_")[0] for name, _ in adapted.named_parameters() if is_adapter(name)}
    assert layers == set(adapted_layers(network(), (BACKBONE, "fusion", "encoders.audio-logmel.clean")))
    assert {name.split(".")[0] for name in layers} == {"encoders", "fusion"}
    assert sum("encoders.text-tokens@1.backbone" in name for name in layers) == 2 * 6  # q, k, v, out and two of the MLP
    assert any("audio-logmel:clean@1" in name for name in layers)
    assert {plain_name(name) for name, _ in adapted.named_parameters() if not is_adapter(name)} == {
        name for name, _ in network().named_parameters()
    }


def test_the_network_says_what_it_said_before_adapters_learn(adapted):
    torch.testing.assert_close(adapted(clips()).logits_BK, network()(clips()).logits_BK, rtol=0, atol=0)


def test_merged_weights_say_what_the_adapters_said(adapted, tmp_path):
    teach(adapted)
    wanted = adapted(clips())
    assert (wanted.logits_BK - network()(clips()).logits_BK).abs().max() > 0.05
    expected = {
        name.removesuffix(".lora_A.default"): 2.0
        * adapted.get_submodule(name.replace("lora_A", "lora_B")).weight
        @ a.weight
        for name, a in adapted.named_modules()
        if name.endswith(".lora_A.default")
    }
    merge_adapters(adapted)
    assert {type(module).__module__.partition(".")[0] for module in adapted.modules()} <= {
        "torch",
        "mmpipe",
        "transformers",
    }
    found, plain = adapted(clips()), network()
    assert (found.logits_BK - wanted.logits_BK).abs().max() < 1e-5
    assert (found.z_BD - wanted.z_BD).abs().max() < 1e-5
    assert set(adapted.state_dict()) == set(plain.state_dict())
    for name, delta in expected.items():  # W + alpha / rank B A
        weight = plain.get_submodule(name).weight + delta
        torch.testing.assert_close(adapted.get_submodule(name).weight, weight, rtol=1e-5, atol=1e-6)
    save_model(adapted, tmp_path)
    assert torch.equal(load_model(tmp_path)(clips()).logits_BK, found.logits_BK)


def test_a_group_without_linear_layers_is_refused():
    model = network()
    with pytest.raises(ConfigError, match=r"'encoders\.text-tokens\.backbone\.embeddings', which has no linear layer"):
        add_adapters(model, LoraConfig(groups=(f"{BACKBONE}.embeddings",)))


def test_projections_that_torch_reads_past_their_forward_get_none():
    model = network()
    model.fusion.extra = nn.MultiheadAttention(8, 2)
    assert not [name for name in adapted_layers(model, ("fusion",)) if "extra" in name]


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        ConfigError, match=r"lora needs peft, which is not installed. Run: pip install 'mmpipe\[lora\]'"
    ):
        add_adapters(network(), LoraConfig(groups=(BACKBONE,)))
