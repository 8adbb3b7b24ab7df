"""Where somebody speaks: energy of the speech band over a floor that follows the noise, and the shape of its spectrum.

The plan is that of the classic detectors (ITU-T G.729 annex B; Ramirez et al., "Voice activity detection", 2007): a
hop speaks when its band stands over the noise floor and is neither a tone nor flat; short gaps are bridged. The floor
is a minimum statistic (Martin, IEEE Trans. SAP 2001) that looks ahead as well, for the series is whole when it is read.

Axes: N samples, T hops of 10 ms, F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmpipe.types import NANOSECONDS_PER_SECOND

SAMPLE_RATE_HZ = 16_000
HOP_NS = 10_000_000
_HOP = SAMPLE_RATE_HZ * HOP_NS // NANOSECONDS_PER_SECOND
_WINDOW = 512  # 32 ms: two periods of a deep voice
_LOW_HZ, _HIGH_HZ = 250, 4000
_BAND = slice(_LOW_HZ * _WINDOW // SAMPLE_RATE_HZ, _HIGH_HZ * _WINDOW // SAMPLE_RATE_HZ + 1)
_EMPTY_POWER = 1e-12  # -120 dBFS: below it nothing is heard
_PEAK_REACH = 2  # bins on either side: a Hann window spreads a tone over so many
_CHUNK_HOPS = 4096
# The quietest and the loudest tenth of every half second, and of those the extremes within three seconds.
_BLOCK_HOPS, _QUIET_SHARE, _BLOCK_REACH = 50, 0.1, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSeries:
    """What is kept of every 10 ms of sound."""

    start_ns: int  # of the first hop
    band_db_T: np.ndarray  # float32, power of 250 to 4000 Hz, 0 dB being that of a full-scale square wave
    flatness_T: np.ndarray  # float32, geometric over arithmetic mean of the band's power; white noise has 0.56
    peak_share_T: np.ndarray  # float32, share of the band's power within two bins of its peak; a tone has 1

    def __len__(self) -> int:
        """Return the number of hops."""
        return len(self.band_db_T)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRule:
    """What counts as speech."""

    margin_db: float = 4.0  # over the noise floor, which lies a decibel under the mean of steady noise
    range_db: float = 30.0  # under the loudest within three seconds: breath and rustle lie deeper
    least_db: float = -60.0  # absolute
    max_flatness: float = 0.46
    max_peak_share: float = 0.9
    min_speech_ns: int = 200_000_000  # shorter is a click or a knock
    min_silence_ns: int = 300_000_000  # shorter is a pause within an utterance
    min_swing_db: float = 1.5  # standard deviation of the level: syllables swing, chords and hums do not
    padding_ns: int = 100_000_000  # soft beginnings and ends


class SpeechMeter:
    """Measure sound as it comes; three numbers of every 10 ms are kept."""

    def __init__(self, start_ns: int = 0) -> None:
        self._start_ns = start_ns
        # Every hop is seen in the middle of its window.
        self._held_N = np.zeros((_WINDOW - _HOP) // 2, np.float32)
        self._num_samples = 0
        self._rows: list[np.ndarray] = []
        self._num_hops = 0

    def push(self, wave_N: np.ndarray) -> None:
        """Take the next mono samples at 16 kHz; a gap in time must come as zeros."""
        wave_N = np.nan_to_num(np.asarray(wave_N, np.float32), posinf=0, neginf=0)
        self._num_samples += len(wave_N)
        self._measure(np.concatenate((self._held_N, wave_N)))

    def finish(self) -> SpeechSeries:
        """Return what was measured; an unfinished hop at the end counts as if zeros followed."""
        missing = -(-self._num_samples // _HOP) - self._num_hops
        needed = (missing - 1) * _HOP + _WINDOW - len(self._held_N)
        if missing:
            self._measure(np.concatenate((self._held_N, np.zeros(max(needed, 0), np.float32))))
        band_db, flatness, peak_share = np.concatenate(self._rows).T if self._rows else np.zeros((3, 0), np.float32)
        return SpeechSeries(start_ns=self._start_ns, band_db_T=band_db, flatness_T=flatness, peak_share_T=peak_share)

    def _measure(self, held_N: np.ndarray) -> None:
        """Reduce all whole windows to their numbers and hold what is left."""
        num_hops = max((len(held_N) - _WINDOW) // _HOP + 1, 0)
        for first in range(0, num_hops, _CHUNK_HOPS):
            chunk = held_N[first * _HOP : (min(first + _CHUNK_HOPS, num_hops) - 1) * _HOP + _WINDOW]
            self._rows.append(_measure_windows(np.lib.stride_tricks.sliding_window_view(chunk, _WINDOW)[::_HOP]))
        self._num_hops += num_hops
        self._held_N = held_N[num_hops * _HOP :]


def find_speech(series: SpeechSeries, rule: SpeechRule | None = None) -> tuple[tuple[int, int], ...]:
    """Return the ranges `[start_ns, end_ns)` in which somebody speaks, in order and apart."""
    rule = rule or SpeechRule()
    floor_db, loud_db = level_range_db(series.band_db_T)
    least_db = np.maximum(np.maximum(floor_db + rule.margin_db, loud_db - rule.range_db), rule.least_db)
    voiced = (
        (series.band_db_T > least_db)
        & (series.flatness_T < rule.max_flatness)
        & (series.peak_share_T < rule.max_peak_share)
    )
    runs = _join(_runs(voiced), rule.min_silence_ns // HOP_NS)
    kept = [(first, last) for first, last in runs if _speaks(voiced[first:last], series.band_db_T[first:last], rule)]
    padding = rule.padding_ns // HOP_NS
    padded = [(max(first - padding, 0), min(last + padding, len(series))) for first, last in kept]
    return tuple(
        (series.start_ns + first * HOP_NS, series.start_ns + last * HOP_NS) for first, last in _join(padded, 0)
    )


def share_of_range(ranges: tuple[tuple[int, int], ...], start_ns: int, end_ns: int) -> float:
    """Return which share of `[start_ns, end_ns)` the ranges cover."""
    covered = sum(max(min(last, end_ns) - max(first, start_ns), 0) for first, last in ranges)
    return covered / (end_ns - start_ns)


def level_range_db(band_db_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of what is always there, and that of the loudest nearby, each [T]."""
    if not len(band_db_T):
        return band_db_T, band_db_T
    blocks = np.array_split(band_db_T, max(len(band_db_T) // _BLOCK_HOPS, 1))
    ends = np.array([np.quantile(block, (_QUIET_SHARE, 1 - _QUIET_SHARE)) for block in blocks])
    padded = np.pad(ends, ((_BLOCK_REACH, _BLOCK_REACH), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _BLOCK_REACH + 1, axis=0)
    lengths = [len(block) for block in blocks]
    return np.repeat(windows[:, 0].min(axis=1), lengths), np.repeat(windows[:, 1].max(axis=1), lengths)


def _speaks(voiced_T: np.ndarray, band_db_T: np.ndarray, rule: SpeechRule) -> bool:
    """Return whether a run is long enough and swings as syllables do; clicks that are joined stay clicks."""
    return bool(voiced_T.sum() * HOP_NS >= rule.min_speech_ns and band_db_T[voiced_T].std() >= rule.min_swing_db)


def _measure_windows(windows_TN: np.ndarray) -> np.ndarray:
    """Return band level, flatness and peak share of windows, float32 [T, 3]."""
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power_TF = np.abs(np.fft.rfft(windows_TN * hann, axis=1)[:, _BAND]) ** 2
    total = power_TF.sum(axis=1) + _EMPTY_POWER
    # By Parseval a full-scale square wave would have this much.
    level_db = 10 * np.log10(2 * total / (_WINDOW * np.square(hann).sum()) + _EMPTY_POWER)
    log_mean = np.log(power_TF + _EMPTY_POWER).mean(axis=1)
    flatness = np.exp(log_mean) / (power_TF.mean(axis=1) + _EMPTY_POWER)
    peaks = power_TF.argmax(axis=1)
    running = np.pad(np.cumsum(power_TF, axis=1), ((0, 0), (1, 0)))
    rows = np.arange(len(peaks))
    ends = np.minimum(peaks + _PEAK_REACH + 1, power_TF.shape[1])
    around = running[rows, ends] - running[rows, np.maximum(peaks - _PEAK_REACH, 0)]
    return np.stack((level_db, flatness, around / total), axis=1).astype(np.float32)


def _runs(flags_T: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs `[first, last)` of true hops."""
    change = np.diff(np.concatenate(((0,), flags_T.astype(np.int8), (0,))))
    return list(zip(np.flatnonzero(change > 0).tolist(), np.flatnonzero(change < 0).tolist(), strict=True))


def _join(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Return runs in which gaps up to a length are bridged."""
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
