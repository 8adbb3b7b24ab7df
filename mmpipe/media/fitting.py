"""Where a picture's pixels go: what it is scaled to, and what of that is cut out.

Rounded as transformers' processors do, so that the pixels are those that a model was trained on.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mmpipe.types import Fit

Size = tuple[int, int]  # width and height in pixels


def shown_shape(picture: Size, turns: int, aspect: Fraction) -> Size:
    """Return width and height of a stored picture as it is seen, in a unit that keeps both whole.

    `aspect` is the width of its pixels by their height; `turns` are the quarter turns that then set it upright.
    """
    width, height = picture[0] * aspect.numerator, picture[1] * aspect.denominator
    return (height, width) if turns % 2 else (width, height)


def scaled_size(shape: Size, out: Size, fit: Fit) -> Size:
    """Return what a picture is scaled to, before the middle of the size `out` is cut from it.

    Of its width and height, upright and as they are seen, only the ratio counts.
    """
    width, height = shape
    box_width, box_height = fit.box_px or out
    if not fit.keeps_shape:
        return box_width, box_height
    if box_width * height >= box_height * width:  # the width is what has to grow most
        return box_width, box_width * height // width
    return box_height * width // height, box_height


def cut_start(scaled: int, out: int) -> int:
    """Return at which of its pixels a scaled side is cut; below 0 black comes first."""
    return (scaled - out) // 2


def cut_middle(pixels: np.ndarray, out: Size) -> np.ndarray:
    """Return the middle of pixels [H, W] or [H, W, C] as a view, or a copy with black around what is too small."""
    width, height = out
    top, left = cut_start(pixels.shape[0], height), cut_start(pixels.shape[1], width)
    middle = pixels[max(top, 0) :, max(left, 0) :][:height, :width]
    if middle.shape[:2] == (height, width):
        return middle
    whole = np.zeros((height, width, *pixels.shape[2:]), pixels.dtype)
    top, left = max(-top, 0), max(-left, 0)
    whole[top : top + middle.shape[0], left : left + middle.shape[1]] = middle
    return whole
