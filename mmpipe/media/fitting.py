"""Where a picture's pixels go: what it is scaled to, and what of that is cut out.

Rounded as transformers' processors do, so that the pixels are those that a model was trained on.
"""

from __future__ import annotations

import numpy as np

from mmpipe.types import Fit

Size = tuple[int, int]  # width and height in pixels


def scaled_size(picture: Size, out: Size, fit: Fit) -> Size:
    """Return what a picture is scaled to, before the middle of the size `out` is cut from it."""
    width, height = picture
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
