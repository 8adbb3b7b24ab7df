"""Networks that read stored pictures and tokens, against the encoders and the library that have the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmpipe.config import BackboneConfig, EncoderConfig
from mmpipe.errors import ConfigError
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.resnet import resnet50
from mmpipe.features.encoders.vgg import vgg16
from mmpipe.fusion.backbones.bert import check_ids
from mmpipe.fusion.backbones.pictures import DEVIATION_RGB, MEAN_RGB, picture_shape
from mmpipe.fusion.backbones.registry import load_backbone, make_backbone, resolve_backbone
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import choose_steps
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind
from mmpipe.weights.loading import quiet_transformers

SIDE = 32
PIXELS = InputSpec(feature="video-pixels@1", kind=FeatureKind.SEQUENCE, dim=SIDE * SIDE * 3)
TOKENS = InputSpec(feature="text-tokens@1", kind=FeatureKind.SEQUENCE, dim=1)
TINY_BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def pictures(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, count, PIXELS.dim), generator=generator).float()


def everything(count: int) -> torch.Tensor:
    return torch.ones(1, count, dtype=torch.bool)


@pytest.mark.parametrize(("kind", "functional"), [("vgg16", vgg16), ("resnet50", resnet50)])
def test_a_network_to_train_is_the_one_that_extracts(kind: str, functional: Any) -> None:
    torch.manual_seed(0)
    backbone = make_backbone(BackboneConfig(kind=kind), PIXELS.dim, 0.0, "video-pixels").eval()
    network: Any = backbone.network
    for name, parameter in network.named_parameters():
        if "bn" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    device = TorchDevice(name="cpu", dtype="float32")
    pixels_PHWC = pictures()[0].reshape(-1, SIDE, SIDE, 3).numpy() / 255
    normal = ((pixels_PHWC - np.array(MEAN_RGB)) / np.array(DEVIATION_RGB)).astype(np.float32)
    expected = functional(weights, device, "mean")(torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous())
    found = backbone(pictures(), everything(3))[0]
    torch.testing.assert_close(found.detach(), expected, rtol=1e-3, atol=2e-3)  # there, norms are in the kernels


@pytest.mark.parametrize("kind", ["vgg16", "resnet50", "small_cnn"])
def test_pictures_become_features_and_every_weight_learns(kind: str) -> None:
    torch.manual_seed(0)
    backbone = make_backbone(BackboneConfig(kind=kind), PIXELS.dim, 0.0, "video-pixels").train()
    if kind == "resnet50":  # its branches start silent: let them speak, so that what is in them learns
        for name, parameter in backbone.named_parameters():
            if name.endswith("bn3.weight"):
                torch.nn.init.ones_(parameter)
    features_BSF = backbone(pictures(4), everything(4))
    assert features_BSF.shape == (1, 4, backbone.dim)
    (features_BSF * torch.randn(backbone.dim)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_gray_pictures_and_those_that_are_no_square() -> None:
    assert picture_shape(28 * 28, None, "image-pixels") == (28, 28, 1)
    assert picture_shape(32 * 24 * 3, (24, 32, 3), "image-pixels") == (24, 32, 3)
    gray = make_backbone(BackboneConfig(kind="small_cnn"), 28 * 28, 0.0, "image-pixels")
    assert gray(torch.rand(2, 1, 28 * 28), everything(1).expand(2, 1)).shape == (2, 1, gray.dim)
    for dim, told, words in ((70, None, "no square"), (12, (2, 2, 2), "or 1 for gray"), (12, (3, 3, 3), "says 27")):
        with pytest.raises(ConfigError, match=words):
            picture_shape(dim, told, "image-pixels")


def save_bert(folder: Path) -> Any:
    with quiet_transformers():
        from transformers import BertConfig, BertModel

        torch.manual_seed(1)
        model = BertModel(BertConfig(**TINY_BERT)).eval()
        model.save_pretrained(folder)
    return model


def test_bert_begins_from_weights_and_is_rebuilt_without_them(tmp_path: Path) -> None:
    told = save_bert(tmp_path / "bert")
    given = BackboneConfig(kind="bert", weights=str(tmp_path / "bert"))
    config = resolve_backbone(given, "encoders.text-tokens.backbone")
    assert config.sha256 and config.architecture["hidden_size"] == 16
    backbone = make_backbone(config, 1, 0.0, "text-tokens").eval()
    load_backbone(backbone, config, "here")
    ids_BS = torch.tensor([[3, 7, 39, 1], [5, 2, 0, 0]])
    mask_BS = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = told(input_ids=ids_BS, attention_mask=mask_BS.long()).last_hidden_state
    found = backbone(ids_BS[:, :, None].float(), mask_BS)
    torch.testing.assert_close(found[mask_BS], expected[mask_BS], rtol=1e-5, atol=1e-5)
    spec = ModelSpec(
        fusion="unimodal",
        inputs=(TOKENS,),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8),
        encoders={TOKENS.feature: EncoderConfig(backbone=config, kind="cnn", steps=6, width=8)},
    )
    model = FusionModel(spec)
    model.load_backbones()
    save_model(model, tmp_path / "model")
    (tmp_path / "bert" / "model.safetensors").unlink()
    again = load_model(tmp_path / "model")
    features = {TOKENS.feature: (ids_BS[:, :, None].float(), mask_BS)}
    torch.testing.assert_close(again(features).logits_BK, model.eval()(features).logits_BK, rtol=0, atol=0)
    with pytest.raises(ConfigError):
        resolve_backbone(given, "encoders.text-tokens.backbone")


def test_weights_of_another_network_and_other_inputs_are_refused(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    config = resolve_backbone(BackboneConfig(kind="vgg16", weights=str(tmp_path / "other.safetensors")), "here")
    with pytest.raises(ConfigError, match=r"\[1\] as features.0.weight, expected \[64, 3, 3, 3\]"):
        load_backbone(make_backbone(config, PIXELS.dim, 0.0, "video-pixels"), config, "here")
    with pytest.raises(ConfigError, match="text-tokens"):
        make_backbone(BackboneConfig(kind="bert"), 64, 0.0, "audio-logmel")
    with pytest.raises(ConfigError, match=r"and the weights .* have"):
        resolve_backbone(config.model_copy(update={"sha256": "0" * 64}), "here")
    with pytest.raises(ConfigError, match="are random"):
        resolve_backbone(BackboneConfig(kind="vgg16", sha256="0" * 64), "here")
    assert resolve_backbone(config, "here") == config
    with pytest.raises(ConfigError, match="no published weights"):
        resolve_backbone(BackboneConfig(kind="small_cnn", weights="x.safetensors"), "here")
    ids_BSK = torch.tensor([[[3.0], [90.0]]])
    with pytest.raises(ConfigError, match="ids up to 90"):
        check_ids(ids_BSK, everything(2), 40, "text-tokens")
    check_ids(ids_BSK, torch.tensor([[True, False]]), 40, "text-tokens")
    bert = EncoderConfig(backbone=BackboneConfig(kind="bert", architecture=TINY_BERT), kind="gru", steps=4, width=8)
    spec = ModelSpec(
        fusion="unimodal",
        inputs=(TOKENS,),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8),
        encoders={TOKENS.feature: bert},
    )
    with pytest.raises(ConfigError, match="text-tokens@1 holds ids up to 90"):
        FusionModel(spec).check_stored({TOKENS.feature: (ids_BSK, everything(2))})


def test_a_file_of_weights_is_what_a_network_begins_from(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = make_backbone(BackboneConfig(kind="resnet50"), PIXELS.dim, 0.0, "video-pixels")
    network: Any = source.network
    save_file(network.state_dict(), tmp_path / "resnet50.safetensors")
    config = resolve_backbone(BackboneConfig(kind="resnet50", weights=str(tmp_path / "resnet50.safetensors")), "here")
    other = make_backbone(config, PIXELS.dim, 0.0, "video-pixels")
    load_backbone(other, config, "here")
    for name, value in source.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_frozen_backbone_stays_as_it_begins() -> None:
    encoder = EncoderConfig(backbone=BackboneConfig(kind="resnet50", frozen=True), kind="lstm", steps=4, width=8)
    spec = ModelSpec(
        fusion="unimodal",
        inputs=(PIXELS,),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8),
        encoders={PIXELS.feature: encoder},
    )
    model = FusionModel(spec).train()
    backbone: Any = model.encoders[PIXELS.feature].backbone
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model({PIXELS.feature: (pictures(3), everything(3))}).logits_BK.sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not backbone.training


def test_pictures_are_picked_evenly_and_tokens_from_the_start() -> None:
    x_BTD = torch.arange(10.0)[None, :, None].expand(3, -1, 2)
    mask_BT = torch.arange(10) < torch.tensor([10, 3, 0])[:, None]
    even_BSD, even_BS = choose_steps(x_BTD, mask_BT, 5, evenly=True)
    assert even_BSD[:, :, 0].tolist() == [[1, 3, 5, 7, 9], [0, 1, 2, 0, 0], [0, 0, 0, 0, 0]]
    assert even_BS.sum(1).tolist() == [5, 3, 0]
    head_BSD, head_BS = choose_steps(x_BTD, mask_BT, 5, evenly=False)
    assert head_BSD[0, :, 0].tolist() == [0, 1, 2, 3, 4] and torch.equal(head_BS, even_BS)
    for evenly, first in ((True, even_BSD), (False, head_BSD)):
        again_BSD, again_BS = choose_steps(first, even_BS, 5, evenly=evenly)
        assert torch.equal(again_BSD, first) and torch.equal(again_BS, even_BS)
    gaps_BT = mask_BT.flip(1)  # real ones need not come first
    assert choose_steps(x_BTD, gaps_BT, 5, evenly=False)[0][1, :3, 0].tolist() == [7, 8, 9]
