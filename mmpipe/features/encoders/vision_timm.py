"""`image-timm` and `video-timm`: any model of timm, by hub id or folder (the extra `timm`)."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.backbone import Backbone, Forward, Pool
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.params import WeightsParams
from mmpipe.features.encoders.picture_features import FrameParams, ImageEncoder, VideoEncoder
from mmpipe.features.encoders.picture_fit import FitParams, timm_fit
from mmpipe.features.encoders.pictures import IMAGENET_MEAN, IMAGENET_STD, PictureInput
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.timm_models import load_timm


class ImageTimmParams(FitParams, WeightsParams):
    """Which model, and what of it is kept."""

    pool: Pool = Field("model", description="what its classifier would read, cls, mean over tokens, none: all tokens")


class VideoTimmParams(FrameParams, ImageTimmParams):
    """Which model, what of it is kept, and which frames it sees."""


class ImageTimm(ImageEncoder):
    """A vector per still, or its tokens [T, D]."""

    name = "image-timm"
    Params = ImageTimmParams

    def __init__(self, params: ImageTimmParams) -> None:
        super().__init__(params, timm_backbone(params, self.name))


class VideoTimm(VideoEncoder):
    """A row per frame."""

    name = "video-timm"
    Params = VideoTimmParams

    def __init__(self, params: VideoTimmParams) -> None:
        super().__init__(params, timm_backbone(params, self.name))


def timm_backbone(params: ImageTimmParams, extractor: str) -> Backbone:
    """Return what a model's config.json says, as timm writes it; raise ConfigError where it is none of timm's."""
    table = f"features.{extractor}"
    model = params.find(extractor)
    config = model.read_json("config.json")
    said = config.get("pretrained_cfg") or {}
    if "architecture" not in config and (kind := config.get("model_type")):
        raise ConfigError(
            f"{table}.model = {model.name!r} is a model of transformers (its config.json says model_type = {kind!r}), "
            f"not of timm. Take a model of timm, or, for one that reads pictures, {extractor.replace('timm', 'hf')}"
        )
    known = {"architecture": config, "num_features": config, "input_size": said}
    if lacking := [name for name, where in known.items() if name not in where]:
        raise ConfigError(
            f"{table}.model = {model.name!r}: its config.json lacks {', '.join(lacking)}, which timm writes for each "
            "of its models. Save it again with timm.models.save_for_hf"
        )
    found = timm_fit(said, params.fit, table)
    return Backbone(
        about=f"{model.name}, pool {params.pool}",
        sha256=model.sha256,
        dim=int(config["num_features"]),
        tokens=params.pool == "none",
        picture=PictureInput(
            width_px=found.width_px,
            height_px=found.height_px,
            fit=found.fit,
            filter=found.filter,
            mean=tuple(map(float, said.get("mean") or IMAGENET_MEAN)),
            std=tuple(map(float, said.get("std") or IMAGENET_STD)),
        ),
        load=partial(_load, model=model, pool=params.pool, dim=int(config["num_features"]), table=table),
    )


def _load(device: TorchDevice, *, model: ModelFolder, pool: Pool, dim: int, table: str) -> Forward:
    network = load_timm(model, device.torch_dtype, device.name, table)
    if pool == "cls" and not getattr(network, "num_prefix_tokens", 0):
        raise ConfigError(f'{table}.pool = "cls": {model.name!r} has no class token; set pool = "model" or "mean"')
    return partial(_forward, network, pool, dim)


def _forward(network: Any, pool: Pool, dim: int, pixels: Any) -> Any:
    found = network.forward_features(pixels)
    if pool == "model":
        return network.forward_head(found, pre_logits=True)
    if found.ndim == 4:  # places [B, D, H, W], or [B, H, W, D] of some transformers
        found = found.movedim(1, -1) if found.shape[1] == dim and found.shape[-1] != dim else found
        found = found.flatten(1, 2)
    if pool == "none":
        return found
    return found[:, 0] if pool == "cls" else found.mean(1)
