"""Perceptual hashes of pictures, and prints of videos made of them.

`difference_hash` and `cosine_hash` are the dHash and pHash of N. Krawetz ("Looks like it", 2011; "Kind of like that",
2013), bit for bit in the order of the `imagehash` package. Axes: T hashes, H height, W width, C channel.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmpipe.signals.gray import gray_of_rgb
from mmpipe.types import NANOSECONDS_PER_SECOND

RADIUS = 10  # of 64 bits: Krawetz calls up to 10 a variation of one picture
_SIDE = 8
_COSINE_SIDE = 32
_LANCZOS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPrint:
    """The hashes of frames about a second apart."""

    times_ns: np.ndarray  # int64 [T], rising
    hashes_T: np.ndarray  # uint64 [T]


class VideoPrinter:
    """Hash the first frame of every second as frames come."""

    def __init__(self, step_ns: int = NANOSECONDS_PER_SECOND) -> None:
        if step_ns <= 0:
            raise ValueError(f"step_ns must be > 0, got {step_ns}")
        self._step_ns = step_ns
        self._times_ns = array("q")
        self._hashes = array("Q")

    def push(self, frame_HWC: np.ndarray, time_ns: int) -> None:
        """Take the next uint8 RGB frame; one in a second that has its hash costs nothing."""
        # The grid is that of the clock and not of the first frame: copies that lost some frames still agree.
        if not self._times_ns or time_ns // self._step_ns > self._times_ns[-1] // self._step_ns:
            self._times_ns.append(time_ns)
            self._hashes.append(cosine_hash(frame_HWC))

    def finish(self) -> VideoPrint:
        """Return the print."""
        return VideoPrint(times_ns=np.array(self._times_ns, np.int64), hashes_T=np.array(self._hashes, np.uint64))


def difference_hash(frame_HWC: np.ndarray) -> int:
    """Return the dHash of a RGB frame, 64 bits: is a pixel of its 9 x 8 miniature brighter than the one before it."""
    small_HW = _shrink(gray_of_rgb(frame_HWC), _SIDE, _SIDE + 1)
    return _pack(small_HW[:, 1:] > small_HW[:, :-1])


def cosine_hash(frame_HWC: np.ndarray) -> int:
    """Return the pHash of a RGB frame, 64 bits: is a low frequency of its cosine transform over their median."""
    small_HW = _shrink(gray_of_rgb(frame_HWC), _COSINE_SIDE, _COSINE_SIDE).astype(np.float64)
    cosines = _cosines()
    # Rounded, for the sums of a flat picture are 0 but for the last digits of floats.
    low = np.round(cosines @ small_HW @ cosines.T, 6)
    return _pack(low > np.median(low))


def cut_video_print(whole: VideoPrint, start_ns: int, end_ns: int) -> VideoPrint:
    """Return the part of a print that lies in `[start_ns, end_ns)`."""
    part = slice(*np.searchsorted(whole.times_ns, (start_ns, end_ns)))
    return VideoPrint(times_ns=whole.times_ns[part], hashes_T=whole.hashes_T[part])


def compare_video_prints(one: VideoPrint, other: VideoPrint, radius: int = RADIUS) -> float:
    """Return the share of frames, of both, that have one within the radius in the other, wherever it stands."""
    if not len(one.hashes_T) or not len(other.hashes_T):
        return 0.0
    near = np.bitwise_count(one.hashes_T[:, None] ^ other.hashes_T[None, :]) <= radius
    return float((near.any(axis=0).sum() + near.any(axis=1).sum()) / sum(near.shape))


def _pack(bits_HW: np.ndarray) -> int:
    """Return 64 bits, the first the most significant."""
    return int.from_bytes(np.packbits(bits_HW.ravel()).tobytes(), "big")


def _shrink(gray_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture in another size, uint8, as Pillow's LANCZOS gives it: across, rounded, and then down."""
    across = _round(gray_HW @ _lanczos(gray_HW.shape[1], width).T)
    return _round(_lanczos(gray_HW.shape[0], height) @ across)


def _round(picture_HW: np.ndarray) -> np.ndarray:
    """Return gray levels as bytes."""
    return np.clip(np.floor(picture_HW + 0.5), 0, 255).astype(np.uint8)


@lru_cache(maxsize=32)
def _lanczos(size: int, smaller: int) -> np.ndarray:
    """Return the matrix [smaller, size] that resamples one axis; widened to the step, so that nothing aliases."""
    step = max(size / smaller, 1.0)
    centres = (np.arange(smaller)[:, None] + 0.5) * (size / smaller)
    places = np.arange(size)[None, :]
    first, last = (np.floor(centres + side * _LANCZOS * step + 0.5) for side in (-1, 1))
    distance = (places + 0.5 - centres) / step
    weights = np.sinc(distance) * np.sinc(distance / _LANCZOS)
    weights[(np.abs(distance) >= _LANCZOS) | (places < first) | (places >= last)] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """Return the lowest frequencies of the DCT-II, [8, 32]."""
    return np.cos(np.pi * np.arange(_SIDE)[:, None] * (2 * np.arange(_COSINE_SIDE) + 1) / (2 * _COSINE_SIDE))
