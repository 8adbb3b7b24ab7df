"""Gray pictures from RGB frames, the same for every signal."""

from __future__ import annotations

import numpy as np

# ITU-R BT.601 luma in 1/65536: the integers that Pillow's mode "L" uses, so prints agree with tools built on it.
_RED, _GREEN, _BLUE, _HALF = 19595, 38470, 7471, 1 << 15


def gray_of_rgb(frame_HWC: np.ndarray) -> np.ndarray:
    """Return the luma of a uint8 RGB frame, uint8 [H, W]."""
    if frame_HWC.ndim != 3 or frame_HWC.shape[2] != 3 or frame_HWC.dtype != np.uint8 or not frame_HWC.size:
        raise ValueError(f"a frame must be uint8 [H, W, 3], got {frame_HWC.dtype} {list(frame_HWC.shape)}")
    red, green, blue = (frame_HWC[..., channel].astype(np.uint32) for channel in range(3))
    return ((_RED * red + _GREEN * green + _BLUE * blue + _HALF) >> 16).astype(np.uint8)
