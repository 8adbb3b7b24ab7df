"""Which stage of a backbone a weight belongs to, by its name: what is frozen or learns at a rate of its own."""

from __future__ import annotations

from torch import nn

from mmpipe.fusion.backbones.base import Backbone
from mmpipe.fusion.backbones.bert import Bert
from mmpipe.fusion.backbones.pictures import PictureBackbone


def stage_of(backbone: Backbone, name: str) -> str:
    """Return the stage of a weight, named as in the backbone's state; "" where it is of none.

    Stages are counted as their papers do: VGG's between two poolings from `stage1`, ResNet's `stem` and `layer1` to
    `layer4`, BERT's `embeddings` and `layer0` on.
    """
    parts = name.split(".")[1:]  # all are held under `network`
    if isinstance(backbone, Bert):
        return f"layer{parts[2]}" if parts[:2] == ["encoder", "layer"] else parts[0] if parts else ""
    if not isinstance(backbone, PictureBackbone) or not parts:
        return ""
    if parts[0] == "features":
        return f"stage{1 + _pools_before(backbone.network, int(parts[1]))}"
    return parts[0] if parts[0].startswith("layer") else "stem"


def _pools_before(network: nn.Module, place: int) -> int:
    layers = list(network.get_submodule("features").children())
    return sum(isinstance(layer, nn.MaxPool2d) for layer in layers[:place])
