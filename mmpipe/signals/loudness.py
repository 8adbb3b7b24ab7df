"""How loud a sound is (ITU-R BS.1770-4), its peak, its clipped and its silent share, over any range of time.

Loudness sums the power of the channels; peak and clipping are those of any channel; silent is what is so in all.

Axes: C channels, N samples, T hops of 10 ms. Levels of samples count full scale as 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmpipe.types import NANOSECONDS_PER_SECOND

SAMPLE_RATE_HZ = 16_000
HOP_NS = 10_000_000
MONO = ("FC",)
# FFmpeg's names of what BS.1770 leaves out, and of what it takes as surround.
_LOW_CHANNELS = frozenset({"LFE", "LFE2"})
_SURROUND_CHANNELS = frozenset({"BL", "BR", "BC", "SL", "SR", "TBL", "TBC", "TBR", "SDL", "SDR"})
_SURROUND_WEIGHT = 1.41
_LEAST_SHELF_HZ = 4_000
_BLOCK_VALUES = 1 << 18  # are measured at once: a codec's frames are short
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
    weighted_T: np.ndarray  # float32, mean square after the K weighting, summed over the channels by their weights
    power_T: np.ndarray  # float32, mean square of the strongest channel
    peak_T: np.ndarray  # float32, largest magnitude in any channel
    clipped_T: np.ndarray  # float32, share of samples at which some channel is in a run at full scale

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
    """Measure all channels of a sound as they come, at its own rate; four numbers of every 10 ms are kept."""

    def __init__(self, start_ns: int = 0) -> None:
        """Take when the sound begins."""
        self._start_ns = start_ns
        self._stretch: _Stretch | None = None
        self._rows: list[np.ndarray] = []
        self._num_hops = 0

    def push(
        self,
        wave: np.ndarray,
        rate_hz: int = SAMPLE_RATE_HZ,
        channels: tuple[str, ...] = MONO,
        time_ns: int | None = None,
    ) -> None:
        """Take the next samples, [C, N] or [N] of one channel; `channels` names them as FFmpeg does ("FL", "LFE").

        A gap before `time_ns` is silence; what was heard up to then is not heard twice. Where rate or channels change,
        up to 10 ms are left out.
        """
        wave_CN = np.atleast_2d(wave)
        if self._stretch is None or (self._stretch.rate_hz, self._stretch.channels) != (rate_hz, channels):
            self._close()
            self._stretch = _Stretch(rate_hz, channels, self._start_ns + self._num_hops * HOP_NS)
        stretch = self._stretch
        if time_ns is not None:
            since_ns = time_ns - stretch.start_ns
            first = (2 * since_ns * rate_hz + NANOSECONDS_PER_SECOND) // (2 * NANOSECONDS_PER_SECOND)
            stretch.pause(first - stretch.next)
            wave_CN = wave_CN[:, max(stretch.next - first, 0) :]
        stretch.push(wave_CN)

    def finish(self) -> LoudnessSeries:
        """Return what was measured; an unfinished hop at the end counts as if zeros followed."""
        self._close()
        weighted, power, peak, clipped = np.concatenate(self._rows).T if self._rows else np.zeros((4, 0), np.float32)
        return LoudnessSeries(
            start_ns=self._start_ns, weighted_T=weighted, power_T=power, peak_T=peak, clipped_T=clipped
        )

    def _close(self) -> None:
        if self._stretch is not None:
            self._stretch.end()
            self._rows += self._stretch.rows
            self._num_hops += self._stretch.num_hops
            self._stretch = None


class _Stretch:
    """Sound of one rate and one set of channels."""

    def __init__(self, rate_hz: int, channels: tuple[str, ...], start_ns: int) -> None:
        self.start_ns = start_ns
        self.rate_hz = rate_hz
        self.channels = channels
        self.next = 0  # number of the sample that is due
        self.rows: list[np.ndarray] = []
        self.num_hops = 0
        self._weights_C = np.array([_weight_of(name) for name in channels])
        self._filters = k_weighting(rate_hz)
        self._held: list[np.ndarray] = []  # waits for whole hops, and for what tells a run at its end
        self._num_held = 0
        self._rest()

    def push(self, wave_CN: np.ndarray) -> None:
        """Take the next samples."""
        self._held.append(np.asarray(wave_CN, np.float32))
        self._num_held += wave_CN.shape[1]
        self.next += wave_CN.shape[1]
        if self._num_held * len(self.channels) >= _BLOCK_VALUES:
            self._measure()

    def pause(self, count: int) -> None:
        """Take so many samples of silence; of a long one only the numbers are kept."""
        target = self.next + count
        if count > self.rate_hz:
            self.end()
            num_hops = target * NANOSECONDS_PER_SECOND // (self.rate_hz * HOP_NS) - self.num_hops
            self.rows.append(np.zeros((num_hops, 4), np.float32))
            self.num_hops += num_hops
            self.next = self._border(self.num_hops)
        if target > self.next:
            self.push(np.zeros((len(self.channels), target - self.next), np.float32))

    def end(self) -> None:
        """Measure what is held, as if zeros followed, and begin anew after it."""
        if self._num_held:
            hops = -(-self.next * NANOSECONDS_PER_SECOND // (self.rate_hz * HOP_NS))
            hops += self._border(hops) < self.next
            ahead = np.zeros((len(self.channels), self._border(hops) - self.next + _CLIPPED_RUN - 1), np.float32)
            self._held.append(ahead)
            self._num_held += ahead.shape[1]
            self.next = self._border(hops)
            self._measure()
        self._held, self._num_held = [], 0
        self._rest()

    def _rest(self) -> None:
        num_channels = len(self.channels)
        self._state = np.zeros((len(self._filters), num_channels, 2))
        self._before_CN = np.zeros((num_channels, _CLIPPED_RUN - 1), np.bool_)

    def _border(self, hop: int) -> int:
        """Return the number of a hop's first sample; at 11,025 Hz hops are 110 or 111 samples long."""
        return (hop * HOP_NS * self.rate_hz) // NANOSECONDS_PER_SECOND

    def _measure(self) -> None:
        """Reduce whole hops of what is held to their numbers."""
        from scipy.signal import sosfilt  # a second to load: readers of a series need none of it

        ahead = _CLIPPED_RUN - 1
        start = self._border(self.num_hops)
        most = (start + self._num_held - ahead) * NANOSECONDS_PER_SECOND // (self.rate_hz * HOP_NS)
        borders = np.array([self._border(hop) for hop in range(self.num_hops, most + 1)]) - start
        if len(borders) < 2:
            return
        held_CN = np.concatenate(self._held, axis=1)
        whole, starts, lengths = int(borders[-1]), borders[:-1], np.diff(borders)
        wave_CN = np.nan_to_num(held_CN[:, :whole], posinf=0, neginf=0)
        weighted_CN, self._state = sosfilt(self._filters, wave_CN.astype(np.float64), zi=self._state)
        hot_CN = np.concatenate((self._before_CN, np.abs(held_CN[:, : whole + ahead]) >= _CLIPPED_LEVEL), axis=1)
        columns = (
            np.add.reduceat(self._weights_C @ np.square(weighted_CN), starts) / lengths,
            (np.add.reduceat(np.square(wave_CN), starts, axis=1) / lengths).max(axis=0),
            np.maximum.reduceat(np.abs(wave_CN).max(axis=0), starts),
            np.add.reduceat(_clipped(hot_CN)[ahead:-ahead], starts) / lengths,
        )
        self.rows.append(np.stack(columns, axis=1).astype(np.float32))
        self._before_CN = hot_CN[:, whole : whole + ahead]
        self._held, self._num_held = [held_CN[:, whole:]], held_CN.shape[1] - whole
        self.num_hops = most


def _clipped(hot_CN: np.ndarray) -> np.ndarray:
    """Return at which samples some channel is in a run of full scale, float64 [N]."""
    if not hot_CN.any():
        return np.zeros(hot_CN.shape[1])
    return np.any([_in_runs(hot_N) for hot_N in hot_CN], axis=0).astype(np.float64)


def _weight_of(channel: str) -> float:
    """Return by how much the power of a channel counts (BS.1770-4, table 3): what comes from behind, by 1.5 dB more."""
    if channel in _LOW_CHANNELS:
        return 0.0
    return _SURROUND_WEIGHT if channel in _SURROUND_CHANNELS else 1.0


def k_weighting(sample_rate_hz: int) -> np.ndarray:
    """Return the two K-weighting filters of BS.1770 for a sample rate, second-order sections [2, 6].

    The standard prints coefficients for 48 kHz; the analogue values behind them are Brecht De Man's
    ("Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018). Under 4 kHz there is no room
    for the first, which lifts what is above 1.7 kHz: only the second is returned, [1, 6].
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
    return np.stack((shelf, high_pass) if sample_rate_hz >= _LEAST_SHELF_HZ else (high_pass,))


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
