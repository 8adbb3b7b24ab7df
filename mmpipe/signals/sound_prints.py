"""Audio fingerprints of Haitsma and Kalker ("A highly robust audio fingerprinting system", ISMIR 2002).

Every hop gives 32 bits: whether the energy difference of neighbouring bands rises or falls against the hop before.
Where nothing changes, as in a steady tone or a hum, the bits are those of the codec's noise: such hops are marked.
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
# Of the power, from hop to hop: tones through codecs stay below. Utterances of GRID do not, nor under a hum of
# ten times their power.
_STEADY_CHANGE = 0.006
_LEAST_BIN = 10  # 20 Hz: a recorder's direct current and rumble are no sound
_PITCH_STEPS = 16  # an octave
_CHANGING = 1  # a mark; what is more is steady
_MIN_OVERLAP = 43  # hops, half a second: shorter prints tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPrint:
    """The bits of every hop."""

    start_ns: int  # of the first hop's window
    words_T: np.ndarray  # uint32 [T]
    marks_T: np.ndarray  # uint8 [T]: 0 silence, 1 sound that changes, above that steady sound by its pitch

    @property
    def heard_T(self) -> np.ndarray:
        """Return which windows are no silence, bool [T]."""
        return self.marks_T > 0


class SoundPrinter:
    """Print sound as it comes; 32 bits of every 11.6 ms are kept."""

    def __init__(self, start_ns: int = 0) -> None:
        self._start_ns = start_ns
        self._held_N = np.zeros(0, np.float32)
        self._before_F: np.ndarray | None = None
        self._words: list[np.ndarray] = []
        self._marks: list[np.ndarray] = []

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
        marks_T = np.concatenate(self._marks) if self._marks else np.zeros(0, np.uint8)
        return SoundPrint(start_ns=self._start_ns, words_T=words_T, marks_T=marks_T)

    def _print(self, windows_TN: np.ndarray) -> None:
        """Append the bits of windows; the very first has nothing to be compared with."""
        power_TF = _powers(windows_TN)
        heard_T = np.square(windows_TN).mean(axis=1) >= _SILENT_POWER
        if self._before_F is None:
            heard_T = heard_T[1:]
        else:
            power_TF = np.concatenate((self._before_F[None], power_TF))
        self._before_F = power_TF[-1]
        steps_TB = np.diff(_band_energies(power_TF), axis=0)
        bits = steps_TB[:, :-1] > steps_TB[:, 1:]
        self._words.append(np.packbits(bits, axis=1).view(">u4").astype(np.uint32)[:, 0])
        self._marks.append(np.where(heard_T, _marks_of(power_TF), 0).astype(np.uint8))


def cut_sound_print(whole: SoundPrint, start_ns: int, end_ns: int) -> SoundPrint:
    """Return the hops whose windows lie in `[start_ns, end_ns)`."""
    window_ns = _WINDOW * NANOSECONDS_PER_SECOND // SAMPLE_RATE_HZ
    first = max(-((whole.start_ns - start_ns) // HOP_NS), 0)
    last = max((end_ns - window_ns - whole.start_ns) // HOP_NS + 1, first)
    return SoundPrint(
        start_ns=whole.start_ns + first * HOP_NS, words_T=whole.words_T[first:last], marks_T=whole.marks_T[first:last]
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


def steady_pitch(marks_T: np.ndarray) -> int:
    """Return the pitch of a sound in which nothing changes, in sixteenths of an octave; 0 for any other.

    A click, or where it begins and ends, is less than what sounds are compared by.
    """
    if np.count_nonzero(marks_T == _CHANGING) >= _MIN_OVERLAP:  # of nearly every sound: no more is looked at
        return 0
    pitches = marks_T[marks_T > _CHANGING].astype(np.int64) - _CHANGING
    return int(np.bincount(pitches).argmax()) if len(pitches) >= _MIN_OVERLAP else 0


def _marks_of(power_TF: np.ndarray) -> np.ndarray:
    """Return the mark of every window but the first, as if none were silent."""
    heard_TF = power_TF[:, _LEAST_BIN:]
    total_T = np.maximum(heard_TF[1:].sum(axis=1), np.finfo(np.float64).tiny)
    change_T = np.abs(np.diff(heard_TF, axis=0)).sum(axis=1) / total_T
    peak_T = _LEAST_BIN + heard_TF[1:].argmax(axis=1)
    steady_T = _CHANGING + np.rint(_PITCH_STEPS * np.log2(peak_T))
    return np.where(change_T < _STEADY_CHANGE, steady_T, _CHANGING)


def _powers(windows_TN: np.ndarray) -> np.ndarray:
    """Return the power of every frequency, float64 [T, F]."""
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    return np.abs(np.fft.rfft(windows_TN * hann, _SIZE, axis=1)).astype(np.float64) ** 2


def _band_energies(power_TF: np.ndarray) -> np.ndarray:
    """Return the energies of 33 bands from 300 to 2000 Hz, evenly wide in their logarithm, float64 [T, B]."""
    edges = _band_edges()
    return np.add.reduceat(power_TF[:, : edges[-1]], edges[:-1], axis=1)


@lru_cache(maxsize=1)
def _band_edges() -> np.ndarray:
    """Return the first bin of every band and the one after the last, [B + 1]."""
    edges_hz = np.geomspace(_LOW_HZ, _HIGH_HZ, _NUM_BITS + 2)
    return np.rint(edges_hz * _SIZE / SAMPLE_RATE_HZ).astype(np.int64)
