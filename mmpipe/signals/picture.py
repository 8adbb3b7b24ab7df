"""How frames look: bright, rich in contrast, sharp, moving, black or frozen.

Axes: T frames, H height, W width, C channel. Brightness, contrast and motion count white as 1.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from mmpipe.signals.gray import gray_of_rgb
from mmpipe.types import NANOSECONDS_PER_SECOND

_WHITE = 255.0
# A black frame as FFmpeg's blackdetect has it: 98 % of the pixels are under 10 % of white.
_BLACK_LEVEL = 0.10 * _WHITE
_BLACK_PIXELS = 0.98
# A frozen frame as FFmpeg's freezedetect has it: a mean difference under -60 dB of white.
_FROZEN_DIFFERENCE = 0.001
# At under two pictures a second nothing moves: each is a still for as long as it stands.
_STILL_NS = 500_000_000
_NUM_COLUMNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSeries:
    """What is kept of every frame."""

    times_ns: np.ndarray  # int64 [T], rising
    end_ns: int  # until then the last one stands
    brightness_T: np.ndarray  # mean luma, 0 to 1
    contrast_T: np.ndarray  # standard deviation of the luma, 0 to 0.5
    sharpness_T: np.ndarray  # variance of the Laplacian of the luma in gray levels (0 to 255)
    motion_T: np.ndarray  # mean absolute difference to the frame before, per second; NaN for the first
    black_T: np.ndarray  # bool
    frozen_T: np.ndarray  # bool: almost equal to the frame before

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.times_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSummary:
    """The means and shares over a time range; None where there is no frame."""

    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    motion: float | None = None
    black_share: float | None = None
    frozen_share: float | None = None


class PictureMeter:
    """Measure frames as they come; five numbers of each are kept."""

    def __init__(self) -> None:
        self._times_ns = array("q")
        self._columns = array("f")
        self._before_HW: np.ndarray | None = None

    def push(self, frame_HWC: np.ndarray, time_ns: int) -> None:
        """Take the next uint8 RGB frame; times must rise."""
        if self._times_ns and time_ns <= self._times_ns[-1]:
            raise ValueError(f"frame times must rise, got {time_ns} ns after {self._times_ns[-1]} ns")
        gray_HW = gray_of_rgb(frame_HWC).astype(np.float32)
        difference = _difference(self._before_HW, gray_HW)
        black = float((gray_HW < _BLACK_LEVEL).mean() >= _BLACK_PIXELS)
        numbers = (gray_HW.mean() / _WHITE, gray_HW.std() / _WHITE, sharpness_of(gray_HW), difference, black)
        self._times_ns.append(time_ns)
        self._columns.extend(float(number) for number in numbers)
        self._before_HW = gray_HW

    def finish(self, end_ns: int | None = None) -> PictureSeries:
        """Return what was measured; where nobody knows when the last one ends, it stands as long as most do."""
        times_ns = np.array(self._times_ns, np.int64)
        brightness, contrast, sharpness, difference, black = (
            np.array(self._columns, np.float32).reshape(-1, _NUM_COLUMNS).T
        )
        steps_s = np.diff(times_ns, prepend=times_ns[:1] - NANOSECONDS_PER_SECOND) / NANOSECONDS_PER_SECOND
        return PictureSeries(
            times_ns=times_ns,
            end_ns=_usual_end_ns(times_ns) if end_ns is None else end_ns,
            brightness_T=brightness,
            contrast_T=contrast,
            sharpness_T=sharpness,
            motion_T=difference / steps_s,
            black_T=black > 0,
            frozen_T=difference < _FROZEN_DIFFERENCE,
        )


def sharpness_of(gray_HW: np.ndarray) -> float:
    """Return the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000); 0 for a picture under 3 x 3."""
    centre = gray_HW[1:-1, 1:-1].astype(np.float32)
    if not centre.size:
        return 0.0
    around = gray_HW[:-2, 1:-1] + gray_HW[2:, 1:-1] + gray_HW[1:-1, :-2] + gray_HW[1:-1, 2:]
    return float((around - 4 * centre).var())


def summarise_pictures(series: PictureSeries, start_ns: int, end_ns: int) -> PictureSummary:
    """Return the means over the frames of `[start_ns, end_ns)`, and shares of the time for which pictures stand in it.

    A picture that came before the range and stands into it counts in the shares; in the means, where no other comes.
    """
    first, last = (int(place) for place in np.searchsorted(series.times_ns, (start_ns, end_ns)))
    times_ns = series.times_ns
    ends_ns = np.append(times_ns[1:], max(series.end_ns, times_ns[-1] + 1)) if len(series) else times_ns
    shown = first - int(first > 0 and ends_ns[first - 1] > start_ns)
    if shown >= last or start_ns >= end_ns:
        return PictureSummary()
    inside_ns = np.minimum(ends_ns, end_ns)[shown:last] - np.maximum(times_ns, start_ns)[shown:last]
    is_still = (ends_ns - times_ns)[shown:last] >= _STILL_NS
    # A range's first picture may equal one outside the range.
    told = is_still | (np.arange(shown, last) > shown)
    frozen = inside_ns[told & (is_still | series.frozen_T[shown:last])].sum()
    first = min(first, last - 1)
    # A range's first frame differs from one outside the range: its change is not the range's.
    changes = slice(first + 1, last)
    moves = last - first > 1
    return PictureSummary(
        brightness=float(series.brightness_T[first:last].mean()),
        contrast=float(series.contrast_T[first:last].mean()),
        sharpness=float(series.sharpness_T[first:last].mean()),
        # One frame is one picture for as long as it stands: nothing moves, as in a film of equal frames.
        motion=float(series.motion_T[changes].mean()) if moves else 0.0,
        black_share=float(inside_ns[series.black_T[shown:last]].sum() / inside_ns.sum()),
        # One picture is frozen for as long as it stands.
        frozen_share=float(frozen / inside_ns[told].sum()) if told.any() else 1.0,
    )


def _usual_end_ns(times_ns: np.ndarray) -> int:
    return int(times_ns[-1] + np.median(np.diff(times_ns))) if len(times_ns) > 1 else int(times_ns.sum()) + 1


def _difference(before_HW: np.ndarray | None, gray_HW: np.ndarray) -> float:
    """Return the mean absolute difference of two pictures, white being 1; NaN without a first or for other sizes."""
    if before_HW is None or before_HW.shape != gray_HW.shape:
        return float("nan")
    return float(np.abs(gray_HW - before_HW).mean()) / _WHITE
