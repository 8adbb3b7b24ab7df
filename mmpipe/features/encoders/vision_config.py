"""What a vision model of transformers says of itself in config.json: sizes, layers, what kind of outputs it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import CLOSED, quiet_transformers

_WITHOUT_CLS = (
    "ijepa",
    "levit",
    "siglip",
    "swin",
    "videomae",
    "vjepa2",
)  # how the names of transformers without a class token start
_REFUSED = {  # model_type: why
    "vit_mae": "it hides patches at random, so that no value could be made twice",
    "siglip2_vision_model": "it reads patches of any shape; its kin for pictures of one size are of type siglip",
}
_OF_VIDEO = ("videomae", "vivit", "timesformer", "vjepa2")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """The facts that decide what comes out."""

    kind: str  # transformers' model_type
    is_joint: bool  # a model of pictures and text: its own pooling is the space that both share
    dims: tuple[int, ...]  # per layer: 0 is what goes into the first one, the last what comes out
    joint_dim: int  # of the shared space; 0 where there is none
    has_cls: bool  # one of the tokens stands for the whole
    image_size: Any  # as the config says it
    clip_frames: int  # so many frames are read together; 0: pictures

    @property
    def num_layers(self) -> int:
        """Return how many layers there are."""
        return len(self.dims) - 1


def vision_config(model: ModelFolder, table: str) -> VisionConfig:
    """Read a model's config.json; raise ConfigError where it says no size, as a model that reads no pictures does."""
    said = model.read_json("config.json")
    if not _is_whole(said):  # older files leave out what is as in the class: only transformers knows that
        said = _with_defaults(model, table)
    own = said.get("vision_config") or said
    dims = _dims(own)
    kind = str(own.get("model_type") or said.get("model_type"))
    reads_pictures = own is not said or any(key in said for key in ("image_size", "crop_size", "num_channels"))
    if kind in _REFUSED:
        raise ConfigError(f"{table}.model = {model.name!r} is of type {kind!r}: {_REFUSED[kind]}")
    if not dims or not reads_pictures:
        raise ConfigError(
            f"{table}.model = {model.name!r}: its config.json (model_type {kind!r}) is not of a model that reads "
            "pictures, or of one that is not known here: it names no hidden_size or hidden_sizes"
        )
    is_joint = own is not said
    return VisionConfig(
        kind=kind,
        is_joint=is_joint,
        dims=dims,
        joint_dim=int(said.get("projection_dim") or dims[-1]) if is_joint else 0,
        has_cls=not kind.startswith(_WITHOUT_CLS) and "hidden_sizes" not in own and len(dims) > 1,
        image_size=own.get("image_size") or own.get("crop_size"),
        clip_frames=_clip_frames(own, kind),
    )


def _is_whole(said: Mapping[str, Any]) -> bool:
    own = said.get("vision_config", said)
    return bool({"hidden_sizes", "hidden_dim"} & set(own)) or {"hidden_size", "num_hidden_layers"} <= set(own)


def _with_defaults(model: ModelFolder, table: str) -> dict[str, Any]:
    with quiet_transformers():
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(model.folder, **CLOSED).to_dict()
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{table}.model = {model.name!r}: its config.json cannot be read: {error}") from error


def _dims(own: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the width of what goes into the first layer and of what comes out of each."""
    for last in ("neck_hidden_sizes", "hidden_dim"):  # MobileViT, EfficientNet: only what comes out is known
        if last in own and "hidden_size" not in own:
            return (int(own[last][-1] if isinstance(own[last], list) else own[last]),)
    if "hidden_sizes" in own:
        sizes = [int(size) for size in own["hidden_sizes"]]
        return (int(own.get("embedding_size") or sizes[0]), *sizes)
    if "embed_dim" in own and isinstance(own.get("depths"), list):  # Swin: each stage but the last merges and widens
        stages = [int(own["embed_dim"]) * 2**stage for stage in range(len(own["depths"]))]
        return (stages[0], *stages[1:], stages[-1])
    if "hidden_size" not in own:
        return ()
    return (int(own["hidden_size"]),) * (int(own.get("num_hidden_layers") or 0) + 1)


def _clip_frames(own: Mapping[str, Any], kind: str) -> int:
    frames = own.get("num_frames") or own.get("frames_per_clip")
    return int(frames) if frames and kind.startswith(_OF_VIDEO) else 0
