"""What a model's own processor does to a picture of any shape: read from its settings, as transformers and timm do it.

What transformers leaves to a processor's class when the settings do not say it is in a table here, so that nothing has
to be loaded to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

from pydantic import Field

from mmpipe.config import Table
from mmpipe.errors import ConfigError
from mmpipe.types import COVER, STRETCH, Filter, Fit

FitWish = Literal["model", "stretch", "cover"]
USUAL_PX = 224
_FILTERS: tuple[Filter, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by their numbers
_CLASSIC_CROP = 224 / 256  # of those that were trained as the first networks on ImageNet were
_CONVNEXT_WHOLE_PX = 384  # from here on a ConvNeXT is shown the whole picture, stretched


class FitParams(Table):
    """How pictures of another shape come to the size that the model reads."""

    fit: FitWish = Field(
        "model", description="as the model's own processor; stretch: all of it, squeezed; cover: its middle, in shape"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFit:
    """The size that a model reads, and how pictures come to it."""

    width_px: int
    height_px: int
    fit: Fit = STRETCH
    filter: Filter = "bilinear"  # of stills; video is always scaled bilinearly, which is the same on every CPU

    def wished(self, wish: FitWish) -> PictureFit:
        """Return it as a person wants it, at the same size."""
        if wish == "model":
            return self
        fit = STRETCH if wish == "stretch" else COVER
        return PictureFit(width_px=self.width_px, height_px=self.height_px, fit=fit, filter=self.filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What a class of processors does where the settings do not say it."""

    size: int | None = None  # none: as large as the model's config says
    crops: int = 0  # side of the middle that is cut out; 0: nothing is cut
    keeps_shape: bool = False  # what a size of one number means
    filter: Filter = "bicubic"
    share: float = 1.0  # of the scaled side that `size` is of, where the class scales to more than `size`


_FAMILIES: Mapping[str, _Family] = {  # by the start of the names that the processors of a family have
    "CLIP": _Family(size=224, crops=224, keeps_shape=True),
    "ChineseCLIP": _Family(size=224, crops=224, keeps_shape=True),
    "Bit": _Family(size=224, crops=224, keeps_shape=True),
    "ConvNext": _Family(size=384, keeps_shape=True, share=_CLASSIC_CROP),
    "DeiT": _Family(size=256, crops=224),
    "Flava": _Family(size=224, crops=224),
    "Levit": _Family(size=224, crops=224, keeps_shape=True, share=_CLASSIC_CROP),
    "MobileNetV": _Family(size=256, crops=224, keeps_shape=True, filter="bilinear"),
    "MobileViT": _Family(size=224, crops=256, keeps_shape=True),
    "PoolFormer": _Family(size=224, crops=224, keeps_shape=True, share=0.9),
    "VideoMAE": _Family(size=224, crops=224, keeps_shape=True, filter="bilinear"),
    "Vivit": _Family(size=256, crops=224, keeps_shape=True, filter="bilinear"),
    "VJEPA2": _Family(size=292, crops=256, keeps_shape=True, filter="bilinear"),
    "DINOv3": _Family(filter="bilinear"),
    "ViT": _Family(filter="bilinear"),
    "Beit": _Family(),
    "Blip": _Family(),
    "EfficientNet": _Family(),
    "Pvt": _Family(),
    "Siglip": _Family(),
}
_UNNAMED = _Family(filter="bilinear")


def processor_fit(settings: Mapping[str, Any], image_size: Any) -> PictureFit:
    """Return what a processor of transformers does, by its settings; `image_size` is what the model's config says.

    One that keeps the shape and cuts nothing gives pictures of many sizes: here their middle is cut out, as a square.
    """
    name = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    name = name or str(settings.get("video_processor_type") or "")
    start, family = next(((key, one) for key, one in _FAMILIES.items() if name.startswith(key)), ("", _UNNAMED))
    filter = _filter(settings.get("resample", settings.get("interpolation")), family.filter)
    said = settings.get("size", family.size)
    box, keeps_shape = _sides(said if settings.get("do_resize", True) and said else image_size), _keeps(said, family)
    crops = settings.get("do_center_crop", bool(family.crops))
    out = _sides(settings.get("crop_size") or family.crops or box) if crops else box
    if not settings.get("do_resize", True) or not said:
        return PictureFit(width_px=out[0], height_px=out[1], filter=filter)
    if start == "ConvNext" and not crops:
        keeps_shape = keeps_shape and box[0] < _CONVNEXT_WHOLE_PX
    share = float(settings.get("crop_pct") or family.share) if keeps_shape and family.share < 1 else 1.0
    if share < 1:
        box = int(box[0] / share), int(box[1] / share)
    fit = Fit(keeps_shape=keeps_shape, box_px=None if box == out else box)
    return PictureFit(width_px=out[0], height_px=out[1], fit=fit, filter=filter)


def timm_fit(said: Mapping[str, Any], wish: FitWish, table: str) -> PictureFit:
    """Return what timm does to a picture before a model sees it, or what is wished; ConfigError for what is not done.

    Of an odd number of pixels to cut off, torchvision, which timm calls, rounds the half to the nearest even one and
    not down: its middle may then lie a pixel further on.
    """
    _, height, width = map(int, said["input_size"])
    share, mode = float(said.get("crop_pct") or 0.875), said.get("crop_mode") or "center"
    if mode not in ("center", "squash") and wish == "model":
        raise ConfigError(
            f'{table}.fit = "model": its config.json says crop_mode {mode!r}, which is not done here: '
            'set fit = "stretch" or "cover"'
        )
    box = floor(width / share), floor(height / share)
    found = PictureFit(
        width_px=width,
        height_px=height,
        fit=Fit(keeps_shape=mode == "center", box_px=None if box == (width, height) else box),
        filter=_filter(said.get("interpolation"), "bicubic"),
    )
    return found.wished(wish)


def classic_fit(size_px: int) -> PictureFit:
    """Return how the networks of old are shown a picture: scaled to more than their size, and the middle cut out."""
    box_px = round(size_px / _CLASSIC_CROP)
    return PictureFit(width_px=size_px, height_px=size_px, fit=Fit(keeps_shape=True, box_px=(box_px, box_px)))


def _filter(said: Any, usual: Filter) -> Filter:
    """Return a filter by its number in Pillow, or by its name."""
    if isinstance(said, int) and 0 <= said < len(_FILTERS):
        return _FILTERS[said]
    name = str(said).rpartition(".")[2].lower()
    return next((one for one in _FILTERS if one == name), usual)


def _keeps(said: Any, family: _Family) -> bool:
    """Say whether a size is of the shortest edge, the other side being as long as the picture's shape makes it."""
    if isinstance(said, Mapping):
        return not {"height", "width"} <= set(said)
    return family.keeps_shape and not isinstance(said, list | tuple)


def _sides(said: Any) -> tuple[int, int]:
    """Return width and height of a size as processors write it: one number, the shortest edge, or both sides."""
    if isinstance(said, Mapping):
        if "height" in said and "width" in said:
            return int(said["width"]), int(said["height"])
        said = said.get("shortest_edge") or said.get("longest_edge")
    elif isinstance(said, list | tuple) and len(said) == 2:
        return int(said[1]), int(said[0])
    side = int(said) if said else USUAL_PX
    return side, side
