"""How pictures become a network's input: what the decoder makes of their shape, and numbers of bytes on the device.

Axes: B pictures or clips, T frames of a clip, C colour, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.picture_fit import FitWish, PictureFit, processor_fit
from mmpipe.weights.folder import ModelFolder, read_json

_NOT_DONE = ("offset", "rescale_offset", "do_normalize_offset")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureInput(PictureFit):
    """A picture comes to one size, and its colours to (byte * scale - mean) / std."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 1 / 255
    is_bgr: bool = False  # blue comes first

    def normalise(self, bytes_BHWC: Any, dtype: Any) -> Any:
        """Return [B, C, H, W] of bytes [B, H, W, C], on the device where they are; a T axis after B stays."""
        import torch

        if self.is_bgr:
            bytes_BHWC = bytes_BHWC.flip(-1)
        height, width = bytes_BHWC.shape[-3:-1]
        device, pairs = bytes_BHWC.device, list(zip(self.mean, self.std, strict=True))
        # A row of pixels is one line of numbers: long inner loops.
        factor = torch.tensor([self.scale / std for _, std in pairs], device=device).repeat(width)
        shift = torch.tensor([-mean / std for mean, std in pairs], device=device).repeat(width)
        lines = bytes_BHWC.reshape(-1, height, len(factor))
        if device.type == "cpu":  # one by one: what lies between stays in the cache, and it is three times as fast
            pixels = torch.empty(lines.shape, dtype=dtype)
            for picture, out in zip(lines, pixels, strict=True):
                out.copy_(torch.addcmul(shift, picture.float(), factor))
        else:
            pixels = torch.addcmul(shift, lines, factor).to(dtype)
        # Colour stays last in memory: convolutions are faster so, and nothing is copied.
        return pixels.reshape(bytes_BHWC.shape).movedim(-1, -3)


def picture_input(model: ModelFolder, image_size: Any, wish: FitWish, table: str) -> PictureInput:
    """Return what a model's own processor does to a picture, read from its settings without loading it.

    `image_size` is what the model's config says, for settings that name no size; `wish` may ask for another fit than
    the processor's. Raise ConfigError where there are no settings: with a wrong mean the values would be wrong and
    nobody would see it.
    """
    settings = _settings(model.folder)
    if not settings:
        raise ConfigError(
            f"{table}.model = {model.name!r}: {model.folder} has no preprocessor_config.json, so nobody knows the "
            "mean and deviation that the model expects. Put the processor's settings beside the weights."
        )
    odd = [key for key in _NOT_DONE if settings.get(key)]
    if odd:
        raise ConfigError(f"{table}.model = {model.name!r}: {odd[0]} in its preprocessor_config.json is not supported")
    found = processor_fit(settings, image_size).wished(wish)
    # MobileViT's processor, the only one that turns colours round, does nothing else to them.
    normal = settings.get("do_normalize", "do_flip_channel_order" not in settings)
    mean = tuple(map(float, settings.get("image_mean", IMAGENET_MEAN))) if normal else (0.0, 0.0, 0.0)
    std = said_std = tuple(map(float, settings.get("image_std", IMAGENET_STD)))
    if not normal:
        std = (1.0, 1.0, 1.0)
    if settings.get("include_top"):  # EfficientNet's processor divides once more
        std = tuple(one * other for one, other in zip(std, said_std, strict=True))
    return PictureInput(
        width_px=found.width_px,
        height_px=found.height_px,
        fit=found.fit,
        filter=found.filter,
        mean=mean,
        std=std,
        scale=float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0,
        is_bgr=bool(settings.get("do_flip_channel_order")),
    )


def _settings(folder: Any) -> Mapping[str, Any]:
    """Return a processor's settings: of pictures, of video, or the part of a joint one that is about pictures."""
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if found := read_json(folder / name):
            return found
    joint = read_json(folder / "processor_config.json")
    return joint.get("image_processor") or joint.get("video_processor") or {}
