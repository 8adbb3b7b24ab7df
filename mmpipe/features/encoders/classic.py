"""`image-vgg16`, `image-resnet50`, `video-vgg16` and `video-resnet50`: the classic networks, which need no extra.

Weights come from a safetensors file, or are random by a seed: then they make a fixed random projection, good for
trying a pipeline out and as a baseline, and the card says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mmpipe.features.encoders import resnet, vgg
from mmpipe.features.encoders.backbone import Backbone, Forward
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.params import ComputeParams
from mmpipe.features.encoders.picture_features import FrameParams, ImageEncoder, VideoEncoder
from mmpipe.features.encoders.picture_fit import FitParams, classic_fit
from mmpipe.features.encoders.pictures import PictureInput
from mmpipe.weights.tensors import RANDOM, Shapes, WeightsFile, check_weights, find_weights

_NETWORKS: dict[str, tuple[Any, Any, Any, dict[str, int]]] = {  # shapes, names, network, width of what comes out
    "vgg16": (vgg.vgg16_shapes, vgg.vgg16_names, vgg.vgg16, vgg.DIMS),
    "resnet50": (resnet.resnet50_shapes, resnet.resnet50_names, resnet.resnet50, resnet.DIMS),
}
Read = Callable[[Shapes], dict[str, np.ndarray]]


class ClassicParams(FitParams, ComputeParams):
    """Which weights, and what of the network is kept. The weights' digest is in the fingerprint."""

    weights: str = Field(RANDOM, exclude=True, description="a .safetensors file beside the config, or random")
    seed: int = Field(0, ge=0, exclude=True, description="of random weights")
    pool: Literal["model", "mean", "none"] = Field(
        "model", description="last hidden layer; mean over the last convolution's places; none: these places"
    )
    size_px: int = Field(224, ge=32, le=1024, description="side of the square that the network reads")


class ClassicVideoParams(FrameParams, ClassicParams):
    """Which weights, what of the network is kept, and which frames it sees."""


class ImageVgg16(ImageEncoder):
    """VGG16 of stills."""

    name = "image-vgg16"
    Params = ClassicParams

    def __init__(self, params: ClassicParams) -> None:
        super().__init__(params, classic_backbone(params, "vgg16", self.name))


class VideoVgg16(VideoEncoder):
    """VGG16 of frames."""

    name = "video-vgg16"
    Params = ClassicVideoParams

    def __init__(self, params: ClassicVideoParams) -> None:
        super().__init__(params, classic_backbone(params, "vgg16", self.name))


class ImageResNet50(ImageEncoder):
    """ResNet50 of stills."""

    name = "image-resnet50"
    Params = ClassicParams

    def __init__(self, params: ClassicParams) -> None:
        super().__init__(params, classic_backbone(params, "resnet50", self.name))


class VideoResNet50(VideoEncoder):
    """ResNet50 of frames."""

    name = "video-resnet50"
    Params = ClassicVideoParams

    def __init__(self, params: ClassicVideoParams) -> None:
        super().__init__(params, classic_backbone(params, "resnet50", self.name))


def classic_backbone(params: ClassicParams, network: str, extractor: str) -> Backbone:
    """Return what is known of a classic network before its weights are read."""
    table = f"features.{extractor}"
    weights = find_weights(params.weights, params.seed, network, table)
    _named(weights, weights.outline, network, params.pool, table)
    found = classic_fit(params.size_px).wished(params.fit)
    what = {"model": "last hidden layer", "mean": "mean over places", "none": "all places"}[params.pool]
    return Backbone(
        about=f"{network}, {what}, weights {weights.name}",
        sha256=weights.sha256,
        dim=_NETWORKS[network][3][params.pool],
        tokens=params.pool == "none",
        picture=PictureInput(width_px=found.width_px, height_px=found.height_px, fit=found.fit, filter=found.filter),
        load=partial(_load, weights=weights, network=network, pool=params.pool, table=table),
    )


def _load(device: TorchDevice, *, weights: WeightsFile, network: str, pool: str, table: str) -> Forward:
    return _NETWORKS[network][2](_named(weights, weights.read, network, pool, table), device, pool)


def _named(weights: WeightsFile, read: Read, network: str, pool: str, table: str) -> dict[str, np.ndarray]:
    """Return the network's weights under their names; raise ConfigError where the file has those of another one."""
    shapes_of, names_of, _, _ = _NETWORKS[network]
    shapes = shapes_of(pool)
    return check_weights(names_of(read(shapes)), shapes, weights.name, table)
