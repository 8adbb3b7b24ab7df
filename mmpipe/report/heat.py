"""A clip's value as a small picture: time goes right, dimensions go down; low is dark, and high is light."""

from __future__ import annotations

import io

import numpy as np

_MOST_STEPS, _MOST_ROWS = 160, 64
_FOLD = 64  # numbers of a vector in a line
# Five colours of viridis (van der Walt and Smith, 2015), which the rest lie between: even to every colour vision.
_STOPS_RGB = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


def heat_png(array: np.ndarray) -> bytes:
    """Return a PNG of a value [D] or [T, D]; a vector is written in lines of 64."""
    from PIL import Image

    rows_DT = fold_vector(array) if array.ndim < 2 else np.asarray(array, np.float64).reshape(len(array), -1).T
    small_DT = shrink(shrink(rows_DT, _MOST_ROWS).T, _MOST_STEPS).T
    sink = io.BytesIO()
    Image.fromarray(colour(scale(small_DT))).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def fold_vector(vector_D: np.ndarray) -> np.ndarray:
    """Return a vector as lines of 64, the last one filled with NaN."""
    rows = -(-max(vector_D.size, 1) // _FOLD)
    folded = np.full(rows * _FOLD if rows > 1 else max(vector_D.size, 1), np.nan)
    folded[: vector_D.size] = vector_D.reshape(-1)
    return folded.reshape(rows, -1)


def shrink(x_NM: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many rows: means of runs of them."""
    if len(x_NM) <= most:
        return x_NM
    return np.stack([part.mean(axis=0) for part in np.array_split(x_NM, most)])


def scale(x_NM: np.ndarray) -> np.ndarray:
    """Return values between 0 and 1, the few beyond the middle 96 % cut off; what is no number stays NaN."""
    known = x_NM[np.isfinite(x_NM)]
    if not known.size:
        return np.full(x_NM.shape, np.nan)
    low, high = np.quantile(known, (0.02, 0.98))
    if high <= low:
        return np.where(np.isfinite(x_NM), 0.5, np.nan)
    return np.asarray(np.clip((x_NM - low) / (high - low), 0, 1))


def colour(share_NM: np.ndarray) -> np.ndarray:
    """Return uint8 RGB [N, M, 3]; NaN is gray."""
    places = np.nan_to_num(share_NM) * (len(_STOPS_RGB) - 1)
    channels = [np.interp(places, range(len(_STOPS_RGB)), _STOPS_RGB[:, channel]) for channel in range(3)]
    rgb = np.stack(channels, axis=-1).round().astype(np.uint8)
    rgb[np.isnan(share_NM)] = 128
    return rgb
