"""`image-hf` and `video-hf`: any vision model of transformers, by hub id or folder."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.backbone import Backbone, Forward, Pool
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.params import WeightsParams
from mmpipe.features.encoders.picture_features import FrameParams, ImageEncoder, VideoEncoder
from mmpipe.features.encoders.picture_fit import FitParams
from mmpipe.features.encoders.pictures import picture_input
from mmpipe.features.encoders.vision_config import VisionConfig, vision_config
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import SPARE, load_transformers


class ImageHfParams(FitParams, WeightsParams):
    """Which model, and what of it is kept."""

    pool: Pool = Field(
        "model", description="the model's own (of CLIP: in the space of its texts), cls, mean over tokens, none: all"
    )
    layer: int | None = Field(None, description="whose output is kept: 0 is what goes into the first; none: the last")


class VideoHfParams(FrameParams, ImageHfParams):
    """Which model, what of it is kept, and which frames it sees."""


class ImageHf(ImageEncoder):
    """A vector per still, or its tokens [T, D]."""

    name = "image-hf"
    Params = ImageHfParams

    def __init__(self, params: ImageHfParams) -> None:
        super().__init__(params, hf_backbone(params, self.name))


class VideoHf(VideoEncoder):
    """A row per frame; of a model that reads clips of frames, a row per such clip."""

    name = "video-hf"
    Params = VideoHfParams

    def __init__(self, params: VideoHfParams) -> None:
        super().__init__(params, hf_backbone(params, self.name))


def hf_backbone(params: ImageHfParams, extractor: str) -> Backbone:
    """Return what is known of the model before it is loaded; raise ConfigError for what it cannot give."""
    table = f"features.{extractor}"
    model = params.find(extractor)
    config = vision_config(model, table)
    layer = _check_choice(params, config, table)
    own_space = params.pool == "model" and config.joint_dim
    picture = picture_input(model, config.image_size, params.fit, table)
    what = {
        "model": "the model's own pooling" if not config.is_joint else "in the space that it shares with texts",
        "cls": "its class token",
        "mean": "mean over its tokens",
        "none": "all its tokens",
    }[params.pool]
    return Backbone(
        about=f"{model.name}, {what}" + ("" if params.layer is None else f", layer {params.layer}"),
        sha256=model.sha256,
        dim=config.joint_dim if own_space else config.dims[layer],
        tokens=params.pool == "none",
        picture=picture,
        clip_frames=config.clip_frames,
        load=partial(_load, model=model, config=config, pool=params.pool, layer=layer, table=table),
    )


def _check_choice(params: ImageHfParams, config: VisionConfig, table: str) -> int:
    """Return the layer, counted from 0; refuse one that the model does not have, and a pooling that it cannot do."""
    layers = config.num_layers
    layer = layers if params.layer is None else params.layer + (layers + 1 if params.layer < 0 else 0)
    if not 0 <= layer <= layers:
        raise ConfigError(f"{table}.layer = {params.layer}: {config.kind} has {layers} layers, 0 is before the first")
    if params.pool == "model" and layer != layers:
        raise ConfigError(f'{table}.layer = {params.layer}: pool = "model" is of the last one; set pool = "mean"')
    if params.pool == "cls" and not config.has_cls:
        raise ConfigError(f'{table}.pool = "cls": {config.kind} has no class token; set pool = "model" or "mean"')
    return layer


def _load(
    device: TorchDevice, *, model: ModelFolder, config: VisionConfig, pool: Pool, layer: int, table: str
) -> Forward:
    may_lack = () if pool == "model" else SPARE
    network = load_transformers(model, "AutoModel", device.torch_dtype, device.name, table, may_lack)
    if config.is_joint:
        for name in ("text_model", "text_projection"):  # half of the memory, and never used here
            if getattr(network, name, None) is not None:
                setattr(network, name, None)
    if pool == "model":
        return partial(_own_pooling, network, config.is_joint)
    tower = network.vision_model if config.is_joint else network
    return partial(_tokens, tower, None if layer == config.num_layers else layer, pool)


def _own_pooling(network: Any, is_joint: bool, pixels: Any) -> Any:
    """Return [B, D] as the model pools; one that does not is averaged over its tokens, as by VideoMAE's classifier."""
    found = network.get_image_features(pixel_values=pixels) if is_joint else _see(network, pixels)
    pooled = found if not hasattr(found, "last_hidden_state") else getattr(found, "pooler_output", None)
    return _in_rows(found.last_hidden_state).mean(1) if pooled is None else pooled.flatten(1)


def _tokens(tower: Any, layer: int | None, pool: Pool, pixels: Any) -> Any:
    """Return [B, L, D] of a layer, or one [B, D] of them; the last is as the model gives it, its last norm included."""
    found = _see(tower, pixels, output_hidden_states=layer is not None)
    tokens_BLD = _in_rows(found.last_hidden_state if layer is None else found.hidden_states[layer])
    if pool == "none":
        return tokens_BLD
    return tokens_BLD[:, 0] if pool == "cls" else tokens_BLD.mean(1)


def _see(tower: Any, pixels: Any, **how: Any) -> Any:
    """Call a network under the name that it has for pictures: `pixel_values`, or `pixel_values_videos`."""
    if tower.config.model_type.startswith("vjepa2"):
        how["skip_predictor"] = True  # of what it could not see; the encoder's output is the same without
    return tower(**{tower.main_input_name: pixels}, **how)


def _in_rows(found: Any) -> Any:
    """Return tokens [B, L, D] of tokens, or of places [B, D, H, W]."""
    return found if found.ndim == 3 else found.flatten(2).transpose(1, 2)
