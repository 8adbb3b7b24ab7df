"""Audio fingerprints of Haitsma and Kalker ("A highly robust audio fingerprinting system", ISMIR 2002).

Every hop gives 32 bits: whether the energy difference of neighbouring bands rises or falls against the hop before.
Axes: N samples, T hops, F frequencies, B bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmpipe.types import NANOSECONDS_PER_SECOND

SAMPLE_RATE_HZ = 16_000
# The paper's frame of 0.37 s and hop of 11.6 ms, in whole samples.
_WINDOW, _HOP = 5920, 186
_SIZE = 8192
HOP_NS = NANOSECONDS_PER_SECOND * _HOP // SAMPLE_RATE_HZ
_NUM_BITS = 32
_LOW_HZ, _HIGH_HZ = 300.0, 2000.0
_SILENT_POWER = 10 ** (-60 / 10)  # mean square of a window; the bits of what is quieter are those of its noise
_CHUNK_HOPS = 256
MAX_ERROR_SHARE = 0.35  # the paper's threshold: one false alarm in 3.6 * 10^20 for 256 hops
MAX_SHIFT = 8  # hops, 93 ms: a codec's delay and a cut's slack
_MIN_OVERLAP = 43  # hops, half a second: shorter prints tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPrint:
    """The bits of every hop."""

    start_ns: int  # of the first hop's window
    words_T: np.ndarray  # uint32 [T]
    heard_T: np.ndarray  # bool [T]: the window is no silence


class SoundPrinter:
    """Print sound as it comes; 32 bits of every 11.6 ms are kept."""

    def __init__(self, start_ns: int = 0) -> None:
        self._start_ns = start_ns
        self._held_N = np.zeros(0, np.float32)
        self._before_B: np.ndarray | None = None
        self._words: list[np.ndarray] = []
        self._heard: list[np.ndarray] = []

    def push(self, wave_N: np.ndarray) -> None:
        """Take the next mono samples at 16 kHz; a gap in time must come as zeros."""
        wave_N = np.nan_to_num(np.asarray(wave_N, np.float32), posinf=0, neginf=0)
        held_N = np.concatenate((self._held_N, wave_N))
        num_hops = max((len(held_N) - _WINDOW) // _HOP + 1, 0)
        for first in range(0, num_hops, _CHUNK_HOPS):
            last = min(first + _CHUNK_HOPS, num_hops)
            chunk_N = held_N[first * _HOP : (last - 1) * _HOP + _WINDOW]
            self._print(np.lib.stride_tricks.sliding_window_view(chunk_N, _WINDOW)[::_HOP])
        self._held_N = held_N[num_hops * _HOP :]

    def finish(self) -> SoundPrint:
        """Return the print; sound under 0.4 s has none."""
        words_T = np.concatenate(self._words) if self._words else np.zeros(0, np.uint32)
        heard_T = np.concatenate(self._heard) if self._heard else np.zeros(0, np.bool_)
        return SoundPrint(start_ns=self._start_ns, words_T=words_T, heard_T=heard_T)

    def _print(self, windows_TN: np.ndarray) -> None:
        """Append the bits of windows; the very first has nothing to be compared with."""
        bands_TB = _band_energies(windows_TN)
        heard_T = np.square(windows_TN).mean(axis=1) >= _SILENT_POWER
        if self._before_B is None:
            self._before_B, heard_T = bands_TB[0], heard_T[1:]
            bands_TB = bands_TB[1:]
        steps_TB = np.diff(np.concatenate((self._before_B[None], bands_TB)), axis=0)
        bits = steps_TB[:, :-1] > steps_TB[:, 1:]
        self._words.append(np.packbits(bits, axis=1).view(">u4").astype(np.uint32)[:, 0])
        self._heard.append(heard_T)
        if len(bands_TB):
            self._before_B = bands_TB[-1]


def cut_sound_print(whole: SoundPrint, start_ns: int, end_ns: int) -> SoundPrint:
    """Return the hops whose windows lie in `[start_ns, end_ns)`."""
    window_ns = _WINDOW * NANOSECONDS_PER_SECOND // SAMPLE_RATE_HZ
    first = max(-((whole.start_ns - start_ns) // HOP_NS), 0)
    last = max((end_ns - window_ns - whole.start_ns) // HOP_NS + 1, first)
    return SoundPrint(
        start_ns=whole.start_ns + first * HOP_NS, words_T=whole.words_T[first:last], heard_T=whole.heard_T[first:last]
    )


def compare_sound_prints(one: SoundPrint, other: SoundPrint, max_shift: int = MAX_SHIFT) -> float:
    """Return the least share of wrong bits over small shifts: 0 for a copy, about 0.5 for another sound or silence."""
    shifts = range(-max_shift, max_shift + 1)
    return min((error_share(one, other, shift) for shift in shifts), default=0.5)


def error_share(one: SoundPrint, other: SoundPrint, shift: int) -> float:
    """Return the share of wrong bits where both are heard, the other's hop t + shift beside hop t; 0.5 if too few."""
    first, last = max(0, -shift), min(len(one.words_T), len(other.words_T) - shift)
    if last - first < _MIN_OVERLAP:
        return 0.5
    heard = one.heard_T[first:last] & other.heard_T[first + shift : last + shift]
    if heard.sum() < _MIN_OVERLAP:
        return 0.5
    wrong = np.bitwise_count(one.words_T[first:last] ^ other.words_T[first + shift : last + shift])
    return float(wrong[heard].mean() / _NUM_BITS)


def _band_energies(windows_TN: np.ndarray) -> np.ndarray:
    """Return the energies of 33 bands from 300 to 2000 Hz, evenly wide in their logarithm, float64 [T, B]."""
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power_TF = np.abs(np.fft.rfft(windows_TN * hann, _SIZE, axis=1)).astype(np.float64) ** 2
    edges = _band_edges()
    return np.add.reduceat(power_TF[:, : edges[-1]], edges[:-1], axis=1)


@lru_cache(maxsize=1)
def _band_edges() -> np.ndarray:
    """Return the first bin of every band and the one after the last, [B + 1]."""
    edges_hz = np.geomspace(_LOW_HZ, _HIGH_HZ, _NUM_BITS + 2)
    return np.rint(edges_hz * _SIZE / SAMPLE_RATE_HZ).astype(np.int64)
