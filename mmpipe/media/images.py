"""Still images, by Pillow with a pixel limit of our own; FFmpeg's image readers are never used."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.fitting import Size, cut_middle, cut_start, scaled_size
from mmpipe.media.refused import too_many_pixels
from mmpipe.types import ImageClip, ImageNeeds

if TYPE_CHECKING:
    from PIL.Image import Image

ALLOWED_IMAGES = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
_MOVING = ("PNG", "WEBP")  # a header tells how many pictures there are; a GIF that moves is a film
_UPRIGHT_SWAPS_SIDES = (5, 6, 7, 8)  # values of the EXIF orientation that turn by a quarter
_ORIENTATION_TAG = 0x0112
# Times what is kept: a strip one pixel high would be scaled to gigabytes. Scaling only the middle gives the same but
# for roundings (at most a few shades, where it is noise), so it is done only there.
_MOST_TO_CUT = 16


class StillFacts(NamedTuple):
    """What the header of a picture says; sizes are upright."""

    codec: str
    width_px: int
    height_px: int
    num_pictures: int  # of a PNG or WebP that moves; of all else the first alone is spoken of


def look_at_image(descriptor: int, limits: LimitsConfig) -> StillFacts:
    """Return what a picture is, decoding nothing.

    Raise SampleError with code limit_pixels, not_media or decode_error.
    """
    with _opened(descriptor, limits) as image:
        width, height = image.size
        # Of a TIFF, Pillow tells the upright size already.
        turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION_TAG) in _UPRIGHT_SWAPS_SIDES
        number = int(getattr(image, "n_frames", 1)) if image.format in _MOVING else 1
        return StillFacts(str(image.format).lower(), *((height, width) if turned else (width, height)), number)


def read_image(descriptor: int, needs: ImageNeeds, limits: LimitsConfig) -> ImageClip:
    """Decode the (first) picture upright, in 8 bits, at the size asked for; raise SampleError as `look_at_image`."""
    from PIL import ImageOps

    with _opened(descriptor, limits) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # a copy of a picture may be too much for the worker's memory
        upright, mode = _in_8_bits(image), "L" if needs.gray else "RGB"
        return ImageClip(image=_fitted(upright if upright.mode == mode else upright.convert(mode), needs))


def _fitted(picture: Image, needs: ImageNeeds) -> np.ndarray:
    """Return a picture at the size asked for."""
    from PIL import Image

    out, filter = (needs.width_px, needs.height_px), Image.Resampling[needs.filter.upper()]
    scaled = scaled_size(picture.size, out, needs.fit)
    if scaled[0] * scaled[1] > _MOST_TO_CUT * out[0] * out[1]:
        part, source = _middle(picture.size, scaled, out)
        return cut_middle(np.array(picture.resize(part, filter, source), dtype=np.uint8), out)
    return np.ascontiguousarray(cut_middle(np.array(picture.resize(scaled, filter), dtype=np.uint8), out))


def _middle(picture: Size, scaled: Size, out: Size) -> tuple[Size, tuple[float, float, float, float]]:
    """Return the size of what is kept of a scaled picture, and where in the picture that comes from."""
    kept = min(scaled[0], out[0]), min(scaled[1], out[1])
    left, top = max(cut_start(scaled[0], out[0]), 0), max(cut_start(scaled[1], out[1]), 0)
    across, down = picture[0] / scaled[0], picture[1] / scaled[1]
    return kept, (left * across, top * down, (left + kept[0]) * across, (top + kept[1]) * down)


@contextmanager
def _opened(descriptor: int, limits: LimitsConfig) -> Iterator[Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            warnings.catch_warnings(),
            _pillow_limited_to(limits.pixels),
            open(os.dup(descriptor), "rb") as file,
        ):
            warnings.simplefilter("ignore")  # of odd metadata; the size is judged here
            file.seek(0)
            with Image.open(file, formats=ALLOWED_IMAGES) as image:
                width, height = image.size
                if width * height > limits.pixels:
                    raise too_many_pixels(f"{width} x {height}", limits)
                yield image
    except Image.DecompressionBombError as error:
        number = re.search(r"\d+", str(error))  # beyond twice the limit Pillow tells no more than this
        raise too_many_pixels(number.group() if number else "too many", limits) from error
    except UnidentifiedImageError as error:
        raise SampleError("not_media", "begins like a picture, but is none that can be read") from error
    except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, MemoryError) as error:
        # What Pillow's readers raise on broken files: its formats do not share one class of errors.
        raise SampleError("decode_error", f"the picture is broken: {error}") from error


@contextmanager
def _pillow_limited_to(pixels: int) -> Iterator[None]:
    """Put our limit in place of Pillow's own, which would also bind what a person let in."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _in_8_bits(image: Image) -> Image:
    """Return a picture of 16 or 32 bits or floats in 8: Pillow's own conversion would clip it."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=np.float64)
    top = 1.0 if image.mode == "F" and values.size and values.max() <= 1.0 else 65535.0
    return Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
