"""Backbones by the name of their kind, and the weights that they begin from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmpipe.config import BackboneConfig, BackboneKind
from mmpipe.errors import ConfigError
from mmpipe.fusion.backbones.base import Backbone
from mmpipe.fusion.backbones.bert import Bert
from mmpipe.fusion.backbones.pictures import PictureBackbone, picture_shape
from mmpipe.fusion.backbones.resnet50 import ResNet50
from mmpipe.fusion.backbones.small_cnn import SmallCnn
from mmpipe.fusion.backbones.vgg16 import Vgg16
from mmpipe.weights.folder import ModelFolder, find_model
from mmpipe.weights.tensors import RANDOM, find_weights

_PICTURES: Mapping[BackboneKind, type[Vgg16 | ResNet50 | SmallCnn]] = {
    BackboneKind.VGG16: Vgg16,
    BackboneKind.RESNET50: ResNet50,
    BackboneKind.SMALL_CNN: SmallCnn,
}


def make_backbone(config: BackboneConfig, dim: int, dropout: float, feature: str) -> Backbone:
    """Build a backbone with random weights for rows of `dim` stored numbers; raise ConfigError where it cannot be."""
    if config.kind is not BackboneKind.BERT:
        network = _PICTURES[config.kind]()
        return PictureBackbone(network, network.dim, picture_shape(dim, config.picture_shape, feature))
    if dim != 1:
        raise ConfigError(f"{feature} has {dim} numbers a step, and bert reads token ids: give it `text-tokens`")
    return Bert(config.architecture, dropout)


def resolve_backbone(config: BackboneConfig, table: str) -> BackboneConfig:
    """Return the config with what its weights say of themselves: their digest, and how large a BERT is.

    What is returned builds the network without them. Raise ConfigError or TransientError where they are not there.
    """
    architecture, sha256 = config.architecture, ""
    if config.weights == RANDOM:
        pass
    elif config.kind is BackboneKind.BERT:
        found = _bert_folder(config, table)
        architecture, sha256 = found.read_json("config.json"), found.sha256
    elif config.kind is BackboneKind.SMALL_CNN:
        raise ConfigError(f'{table}.weights = {config.weights!r}: small_cnn has no published weights. Use "{RANDOM}"')
    else:
        sha256 = find_weights(config.weights, 0, config.kind, table).sha256
    if config.sha256 not in ("", sha256):
        has = f"have {sha256}" if sha256 else "are random"
        raise ConfigError(
            f"{table}.sha256 = {config.sha256!r}, and the weights {config.weights!r} {has}. Leave it out."
        )
    return config.model_copy(update={"architecture": architecture, "sha256": sha256})


def load_backbone(backbone: Backbone, config: BackboneConfig, table: str) -> None:
    """Give a new backbone the weights that it begins from; raise ConfigError where they are of another network."""
    if config.weights == RANDOM:
        return
    if isinstance(backbone, Bert):
        from mmpipe.weights.loading import load_transformers

        begun = load_transformers(_bert_folder(config, table), "BertModel", torch.float32, "cpu", table)
        tensors = {name: value for name, value in begun.state_dict().items() if not name.startswith("pooler.")}
        backbone.network.load_state_dict(tensors)
        return
    assert isinstance(backbone, PictureBackbone)
    _load_pictures(backbone.network, config, table)


def _load_pictures(network: nn.Module, config: BackboneConfig, table: str) -> None:
    from safetensors.torch import load_file

    file = find_weights(config.weights, 0, config.kind, table)
    assert file.path is not None
    found = load_file(file.path)
    wanted = network.state_dict()
    for name, value in wanted.items():
        has = tuple(found[name].shape) if name in found else None
        if has != tuple(value.shape) and not name.endswith("num_batches_tracked"):
            raise ConfigError(
                f"{table}.weights = {config.weights!r} has {list(has) if has else 'nothing'} as {name}, "
                f"expected {list(value.shape)}: it must be a {config.kind} with torchvision's names"
            )
    network.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})


def _bert_folder(config: BackboneConfig, table: str) -> ModelFolder:
    return find_model(config.weights, config.revision, offline=config.offline, table=table)
