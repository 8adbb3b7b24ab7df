"""Where the pictures are cut into shots.

The measure is that of PySceneDetect's ContentDetector: the mean of the absolute differences of hue, saturation and
value between neighbouring frames. A cut is a frame whose difference towers over its neighbours' (as in its
AdaptiveDetector) and still stands a few frames later: fast pans fail the first test, flashes the second.
Two takes of one scene differ by little on the whole and by much where something moved: a second measure, over the
tenth of the picture that changed most, finds those.

Axes: T frames, H height, W width, C channel. Hue counts 0 to 179, saturation and value 0 to 255, as in OpenCV.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np

THRESHOLD = 27.0  # ContentDetector's
MIN_LENGTH_NS = 600_000_000  # 15 frames at 25 per second: PySceneDetect's
# A plain cut, over THRESHOLD, may stand among motion.
_PLAIN_RATIO = 1.8
# The hue of what is nearly black is noise, which leaps as a fade ends: the value must change as well.
_PLAIN_LOCAL = 10.0
# A subtle cut, measured on 3,540 joins of takes of one speaker before one wall (GRID): ratios to the neighbours' mean
# of 2.0 (whole) and 3.4 (most changed tenth) and more, content 2.0 and more; within a take 2.7, 3.3 and 1.9 at most.
_SUBTLE_CONTENT = 1.9
_SUBTLE_RATIO = 1.9
_LOCAL_RATIO = 3.4
# What never stirs is no camera's picture: there a caption is no cut, and only AdaptiveDetector's least content is one.
_STILL, _STILL_CONTENT = 0.25, 15.0
_NEAR = 2
# Pictures that are shown two or three times each change in spikes: a subtle cut must tower over a third of a second.
_WIDE, _WIDE_RATIO = 8, 1.5
# Changes under this are noise; over a still picture every ratio would be huge.
_NOISE, _LOCAL_NOISE = 0.5, 1.0
# A picture that stands alone for so long is a shot: what is further away says nothing of its neighbourhood. Films of 14
# pictures a second and more have all that is looked at nearer than that.
_REACH_NS = MIN_LENGTH_NS
FLASH_FRAMES = 3  # what is over after so many frames was no new shot
_FLASH_NS = 250_000_000  # but what stands for longer than this is none, however few frames it is
_LASTING = 0.5  # of the difference must still be there after them
_DARK = 12.0  # mean value of a black picture: ThresholdDetector's
_GRID_Y, _GRID_X = 9, 16
_MOST = 0.1  # of the cells


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotSeries:
    """What is kept of every frame."""

    times_ns: np.ndarray  # int64 [T], rising
    content_T: np.ndarray  # difference to the frame before; 0 for the first
    local_T: np.ndarray  # the same of the value alone, over the tenth of the picture that changed most
    lasting_T: np.ndarray  # difference between the frame before and the one FLASH_FRAMES later, if that comes in time
    value_T: np.ndarray  # mean value (the largest of red, green and blue), 0 to 255

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.times_ns)


class ShotMeter:
    """Measure frames as they come; four numbers of each are kept, and five pictures of the latest."""

    def __init__(self) -> None:
        self._times_ns = array("q")
        self._content = array("f")
        self._local = array("f")
        self._lasting = array("f")
        self._value = array("f")
        self._recent: deque[np.ndarray] = deque(maxlen=FLASH_FRAMES + 2)

    def push(self, frame_HWC: np.ndarray, time_ns: int) -> None:
        """Take the next uint8 RGB frame; times must rise."""
        if self._times_ns and time_ns <= self._times_ns[-1]:
            raise ValueError(f"frame times must rise, got {time_ns} ns after {self._times_ns[-1]} ns")
        frame_CHW = hsv_of_rgb(frame_HWC)
        self._recent.append(frame_CHW)
        self._times_ns.append(time_ns)
        self._value.append(float(frame_CHW[2].mean()))
        before_CHW = self._recent[-2 if len(self._recent) > 1 else -1]
        self._content.append(_difference(before_CHW, frame_CHW))
        self._local.append(_local_difference(before_CHW[2], frame_CHW[2]))
        self._settle()

    def finish(self) -> ShotSeries:
        """Return what was measured."""
        while len(self._lasting) + 1 < len(self._times_ns):
            self._conclude(len(self._times_ns) - 1)
        lasting = [0.0, *self._lasting]
        return ShotSeries(
            times_ns=np.array(self._times_ns, np.int64),
            content_T=np.array(self._content, np.float32),
            local_T=np.array(self._local, np.float32),
            lasting_T=np.array(lasting[: len(self._times_ns)], np.float32),
            value_T=np.array(self._value, np.float32),
        )

    def _settle(self) -> None:
        """Conclude the frames after which enough came: in number or, of those that stand long, in time."""
        newest = len(self._times_ns) - 1
        while (frame := len(self._lasting) + 1) < newest:
            if self._times_ns[newest] > self._times_ns[frame] + _FLASH_NS:
                self._conclude(newest - 1)
            elif newest - frame == FLASH_FRAMES:
                self._conclude(newest)
            else:
                return

    def _conclude(self, last: int) -> None:
        """Note by how much the next frame's predecessor differs from a later one."""
        frame, newest = len(self._lasting) + 1, len(self._times_ns) - 1
        if last == frame:
            self._lasting.append(self._content[frame])
        else:
            before_CHW, last_CHW = self._recent[frame - 2 - newest], self._recent[last - 1 - newest]
            self._lasting.append(_difference(before_CHW, last_CHW))


def find_cuts(series: ShotSeries, threshold: float = THRESHOLD, min_length_ns: int = MIN_LENGTH_NS) -> tuple[int, ...]:
    """Return the time of the first frame of every shot but the first: hard cuts, and returns from black."""
    if not len(series):
        return ()
    found = _hard_cuts(series, threshold) | _returns_from_black(series)
    cuts: list[int] = []
    shot_start_ns = int(series.times_ns[0])
    for time_ns in series.times_ns[found].tolist():
        if time_ns - shot_start_ns >= min_length_ns:
            cuts.append(time_ns)
            shot_start_ns = time_ns
    return tuple(cuts)


def count_shots(cuts: tuple[int, ...], start_ns: int, end_ns: int) -> int:
    """Return how many shots a time range touches."""
    return 1 + sum(start_ns < cut < end_ns for cut in cuts)


def hsv_of_rgb(frame_HWC: np.ndarray) -> np.ndarray:
    """Return hue, saturation and value of a uint8 RGB frame, int16 [3, H, W], in OpenCV's 8-bit units."""
    red, green, blue = np.moveaxis(frame_HWC, 2, 0).astype(np.float32)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    safe = np.maximum(spread, 1)
    hue = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = np.where(spread > 0, np.rint(30 * hue) % 180, 0)
    saturation = np.rint(255 * spread / np.maximum(value, 1))
    return np.stack((hue, saturation, value)).astype(np.int16)


def _difference(before_CHW: np.ndarray, frame_CHW: np.ndarray) -> float:
    """Return the mean absolute difference over hue, saturation and value."""
    if before_CHW.shape != frame_CHW.shape:
        raise ValueError(f"frames of one series must have one size, got {before_CHW.shape} and {frame_CHW.shape}")
    return float(np.abs(frame_CHW - before_CHW).mean())


def _local_difference(before_HW: np.ndarray, value_HW: np.ndarray) -> float:
    """Return the mean absolute difference over the cells of a grid that changed most."""
    height, width = value_HW.shape
    rows, columns = max(height // _GRID_Y, 1), max(width // _GRID_X, 1)
    # What the grid leaves over at the right and at the bottom is under one cell.
    shape = (height // rows, rows, width // columns, columns)
    inside = np.s_[: shape[0] * rows, : shape[2] * columns]
    cells = np.abs(value_HW[inside] - before_HW[inside]).reshape(shape).mean(axis=(1, 3)).ravel()
    return float(np.sort(cells)[-max(round(_MOST * len(cells)), 1) :].mean())


def _hard_cuts(series: ShotSeries, threshold: float) -> np.ndarray:
    """Return which frames begin a shot at once, bool [T]."""
    content, local, times_ns = series.content_T, series.local_T, series.times_ns
    around, _ = _neighbours(content, times_ns, _NEAR)
    local_near, _ = np.maximum(_neighbours(local, times_ns, _NEAR), _LOCAL_NOISE)
    _, local_wide = np.maximum(_neighbours(local, times_ns, _WIDE), _LOCAL_NOISE)
    near = np.maximum(around, _NOISE)
    plain = (content >= threshold) & (content >= _PLAIN_RATIO * near) & (local >= _PLAIN_LOCAL)
    least = np.where(around < _STILL, _STILL_CONTENT, _SUBTLE_CONTENT)
    subtle = (content >= np.minimum(least, threshold)) & (content >= _SUBTLE_RATIO * near)
    subtle &= (local >= _LOCAL_RATIO * local_near) & (local >= _WIDE_RATIO * local_wide)
    # Alone, a picture has nothing to tower over: time lapses change by as much from one to the next.
    subtle &= _have_neighbours(times_ns)
    # A flash does not last when it comes, and leads back to what was before it when it goes.
    began = np.searchsorted(times_ns, times_ns - _FLASH_NS)
    leading = series.lasting_T[np.maximum(began, np.arange(len(content)) - FLASH_FRAMES)]
    leading[: FLASH_FRAMES + 1] = np.inf
    lasts = np.minimum(series.lasting_T, leading) >= _LASTING * content
    return np.asarray((plain | subtle) & lasts)


def _neighbours(series_T: np.ndarray, times_ns: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the largest of the frames near each, itself left out; 0 where there is none.

    Near are those that come within so many frames, and within `_REACH_NS`.
    """
    known = np.pad(series_T.astype(np.float64), reach, constant_values=np.nan)
    # The first frame has nothing before it: its difference of 0 says nothing of its neighbours.
    known[: reach + 1] = np.nan
    windows = np.lib.stride_tricks.sliding_window_view(known, 2 * reach + 1)
    others = np.where(_near_in_time(times_ns, reach), np.delete(windows, reach, axis=1), np.nan)
    masked = np.ma.masked_invalid(others)
    return np.ma.filled(masked.mean(axis=1), 0), np.ma.filled(masked.max(axis=1), 0)


def _near_in_time(times_ns: np.ndarray, reach: int) -> np.ndarray:
    """Return which of the frames around each come within `_REACH_NS`, bool [T, 2 * reach]."""
    padded_ns, num_frames = np.pad(times_ns, reach, mode="edge"), len(times_ns)
    places = [place for place in range(2 * reach + 1) if place != reach]
    near = [np.abs(padded_ns[place : place + num_frames] - times_ns) <= _REACH_NS for place in places]
    return np.stack(near, axis=1)


def _have_neighbours(times_ns: np.ndarray) -> np.ndarray:
    """Return which frames have another but the first within `_REACH_NS`, bool [T]."""
    steps = np.diff(times_ns) <= _REACH_NS
    before, after = np.concatenate(((False, False), steps[1:])), np.concatenate((steps, (False,)))
    return np.asarray(before[: len(times_ns)] | after)


def _returns_from_black(series: ShotSeries) -> np.ndarray:
    """Return which frames are the first after a black that lasted and had pictures before it, bool [T]."""
    value_T, times_ns = series.value_T, series.times_ns
    returns = np.zeros(len(value_T), np.bool_)
    dark = np.concatenate(((0,), (value_T < _DARK).astype(np.int8), (0,)))
    change = np.diff(dark)
    for start, end in zip(np.flatnonzero(change > 0), np.flatnonzero(change < 0), strict=True):
        if start == 0 or end == len(value_T):
            continue
        returns[end] = end - start > FLASH_FRAMES or times_ns[end] - times_ns[start] > _FLASH_NS
    return returns
