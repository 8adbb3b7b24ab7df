"""How loud a sound is (ITU-R BS.1770-4, mono), its peak, its clipped and its silent share, over any range of time.

Axes: N samples, T hops of 10 ms. Levels of samples count full scale as 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmpipe.types import NANOSECONDS_PER_SECOND

SAMPLE_RATE_HZ = 16_000
HOP_NS = 10_000_000
_HOP = SAMPLE_RATE_HZ * HOP_NS // NANOSECONDS_PER_SECOND
_CLIPPED_LEVEL = 0.999
_CLIPPED_RUN = 3  # fewer neighbours at full scale are an honest peak
_SILENT_POWER = 10 ** (-60 / 10)  # -60 dBFS, root mean square over one hop
# BS.1770-4: 400 ms blocks that overlap by 75 %, an absolute gate of -70 LUFS and a relative one of -10 LU.
_BLOCK_HOPS, _STEP_HOPS = 40, 10
_OFFSET_LU = -0.691
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
SILENT_LUFS = _ABSOLUTE_GATE_LUFS  # nothing above the gate: the standard has no number for it
SILENT_DBFS = -120.0  # zeros, and what is smaller than 20 bits can say


@dataclass(frozen=True, slots=True, kw_only=True)
class LoudnessSeries:
    """What is kept of every 10 ms of sound."""

    start_ns: int  # of the first hop
    weighted_T: np.ndarray  # float32, mean square after the K weighting
    power_T: np.ndarray  # float32, mean square
    peak_T: np.ndarray  # float32, largest magnitude
    clipped_T: np.ndarray  # float32, share of samples in runs at full scale

    def __len__(self) -> int:
        """Return the number of hops."""
        return len(self.power_T)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoudnessSummary:
    """The loudness of a time range; None where there is no sound. Silence has the floors."""

    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    clipping_share: float | None = None
    silence_share: float | None = None


class LoudnessMeter:
    """Measure sound as it comes; four numbers of every 10 ms are kept."""

    def __init__(self, start_ns: int = 0) -> None:
        self._start_ns = start_ns
        self._filters = k_weighting(SAMPLE_RATE_HZ)
        self._state = np.zeros((len(self._filters), 2))
        self._held_N = np.zeros(0, np.float32)  # waits for a whole hop, and for what tells a run at its end
        self._before = np.zeros(_CLIPPED_RUN - 1, np.bool_)
        self._rows: list[np.ndarray] = []

    def push(self, wave_N: np.ndarray) -> None:
        """Take the next mono samples at 16 kHz; a gap in time must come as zeros."""
        self._held_N = np.concatenate((self._held_N, np.asarray(wave_N, np.float32)))
        whole = (len(self._held_N) - len(self._before)) // _HOP * _HOP
        if whole > 0:
            self._measure(whole)

    def finish(self) -> LoudnessSeries:
        """Return what was measured; an unfinished hop at the end counts as if zeros followed."""
        rest = len(self._held_N)
        if rest:
            self._held_N = np.pad(self._held_N, (0, -rest % _HOP + len(self._before)))
            self._measure(len(self._held_N) - len(self._before))
            self._held_N = self._held_N[:0]
        weighted, power, peak, clipped = np.concatenate(self._rows).T if self._rows else np.zeros((4, 0), np.float32)
        return LoudnessSeries(
            start_ns=self._start_ns, weighted_T=weighted, power_T=power, peak_T=peak, clipped_T=clipped
        )

    def _measure(self, whole: int) -> None:
        """Reduce the first samples that are held, whole hops, to their numbers."""
        from scipy.signal import sosfilt  # a second to load: readers of a series need none of it

        wave_N = np.nan_to_num(self._held_N[:whole].astype(np.float64), posinf=0, neginf=0)
        weighted_N, self._state = sosfilt(self._filters, wave_N, zi=self._state)
        ahead = len(self._before)
        hot = np.concatenate((self._before, np.abs(self._held_N[: whole + ahead]) >= _CLIPPED_LEVEL))
        columns = (
            np.square(weighted_N).reshape(-1, _HOP).mean(axis=1),
            np.square(wave_N).reshape(-1, _HOP).mean(axis=1),
            np.abs(wave_N).reshape(-1, _HOP).max(axis=1),
            _in_runs(hot)[ahead:-ahead].reshape(-1, _HOP).mean(axis=1),
        )
        self._rows.append(np.stack(columns, axis=1).astype(np.float32))
        self._before = hot[whole : whole + ahead]
        self._held_N = self._held_N[whole:]


def k_weighting(sample_rate_hz: int) -> np.ndarray:
    """Return the two K-weighting filters of BS.1770 for a sample rate, second-order sections [2, 6].

    The standard prints coefficients for 48 kHz; the analogue values behind them are Brecht De Man's
    ("Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018).
    """
    frequency, quality, gain = (
        math.tan(math.pi * 1681.9744509555319 / sample_rate_hz),
        0.7071752369554193,
        3.99984385397,
    )
    high = 10 ** (gain / 20)
    middle = high**0.499666774155
    square = frequency * frequency
    shelf_b = (
        high + middle * frequency / quality + square,
        2 * (square - high),
        high - middle * frequency / quality + square,
    )
    shelf_a = (1 + frequency / quality + square, 2 * (square - 1), 1 - frequency / quality + square)
    frequency, quality = math.tan(math.pi * 38.13547087613982 / sample_rate_hz), 0.5003270373253953
    square = frequency * frequency
    pass_a = (1 + frequency / quality + square, 2 * (square - 1), 1 - frequency / quality + square)
    shelf = np.array((*shelf_b, *shelf_a)) / shelf_a[0]
    # The standard leaves the high pass's numerator at 1, -2, 1, whatever the rate.
    high_pass = np.array((1.0, -2.0, 1.0, *(np.array(pass_a) / pass_a[0])))
    return np.stack((shelf, high_pass))


def summarise_loudness(series: LoudnessSeries, start_ns: int, end_ns: int) -> LoudnessSummary:
    """Return loudness, peak and shares over `[start_ns, end_ns)`, to the nearest 10 ms."""
    first, last = (round((time_ns - series.start_ns) / HOP_NS) for time_ns in (start_ns, end_ns))
    first, last = max(first, 0), min(last, len(series))
    if first >= last:
        return LoudnessSummary()
    peak = float(series.peak_T[first:last].max())
    return LoudnessSummary(
        loudness_lufs=gated_loudness(series.weighted_T[first:last]),
        peak_dbfs=max(20 * math.log10(peak), SILENT_DBFS) if peak > 0 else SILENT_DBFS,
        clipping_share=float(series.clipped_T[first:last].mean()),
        silence_share=float((series.power_T[first:last] < _SILENT_POWER).mean()),
    )


def gated_loudness(weighted_T: np.ndarray) -> float:
    """Return the integrated loudness of weighted hops in LUFS; `SILENT_LUFS` where all is under the absolute gate."""
    total = np.concatenate(((0.0,), np.cumsum(weighted_T, dtype=np.float64)))
    # Sound shorter than a block is one block: the standard leaves it open.
    length = min(_BLOCK_HOPS, len(weighted_T))
    starts = np.arange(0, len(weighted_T) - length + 1, _STEP_HOPS)
    blocks: np.ndarray = (total[starts + length] - total[starts]) / length
    blocks = blocks[blocks > 10 ** ((_ABSOLUTE_GATE_LUFS - _OFFSET_LU) / 10)]
    if not blocks.size:
        return SILENT_LUFS
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return float(_OFFSET_LU + 10 * np.log10(blocks.mean()))


def _in_runs(hot_N: np.ndarray) -> np.ndarray:
    """Return which samples lie in a run of full scale that is long enough; two samples at each end are context."""
    starts = np.asarray(np.lib.stride_tricks.sliding_window_view(hot_N, _CLIPPED_RUN).all(axis=1))
    inside = np.zeros(len(hot_N), np.bool_)
    for shift in range(_CLIPPED_RUN):
        inside[shift : shift + len(starts)] |= starts
    return inside
