"""Short-time spectra, mel bands, cepstra and their slopes, in float64 so that no real waveform can overflow.

Axes: N samples, T frames, F frequency bins, M mel bands, K coefficients.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, sparse

from mmpipe.errors import SampleError
from mmpipe.types import NANOSECONDS_PER_SECOND

_CHUNK_FRAMES = 256  # frames transformed at once: an hour of sound costs no more memory than its result
_LINEAR_HZ_PER_MEL = 200 / 3  # Slaney: linear below 1 kHz, then 27 steps for each factor of 6.4
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def frame_wave(wave_N: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Return the overlapping frames [T, window] of a wave; one that is shorter than a window is padded with zeros."""
    if not np.isfinite(wave_N).all():
        raise SampleError("nonfinite", "the waveform holds NaN or infinity")
    padded = np.pad(wave_N, (0, max(0, window - len(wave_N))))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def frame_times_ns(num_frames: int, window: int, hop: int, sample_rate_hz: int, start_ns: int) -> np.ndarray:
    """Return the centre of every frame on the asset's clock, int64 [T]."""
    # Twice the sample number, so that half a window stays an integer.
    twice = 2 * hop * np.arange(num_frames, dtype=np.int64) + window
    return start_ns + twice * NANOSECONDS_PER_SECOND // (2 * sample_rate_hz)


def power_spectrum(frames_TN: np.ndarray) -> np.ndarray:
    """Return the power |X|^2 of Hann-windowed frames, [T, F] with F = fft_size / 2 + 1."""
    window = frames_TN.shape[1]
    return _power(frames_TN, _hann(window), np.zeros((len(frames_TN), fft_size(window))))


def _hann(window: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


def _power(frames_TN: np.ndarray, hann_N: np.ndarray, padded_TN: np.ndarray) -> np.ndarray:
    """Return the power of windowed frames; `padded_TN` is room for them, zero behind the window."""
    np.multiply(frames_TN, hann_N, out=padded_TN[: len(frames_TN), : len(hann_N)])
    spectrum = fft.rfft(padded_TN[: len(frames_TN)], axis=1)
    return spectrum.real**2 + spectrum.imag**2


def fft_size(window: int) -> int:
    """Return the power of two that holds a window."""
    return 1 << (window - 1).bit_length()


def mel_bands(num_bands: int, size: int, sample_rate_hz: int, low_hz: float, high_hz: float) -> sparse.csr_array:
    """Return Slaney's triangles of equal area, [M, F]."""
    edges_hz = hz_of_mel(np.linspace(mel_of_hz(low_hz), mel_of_hz(high_hz), num_bands + 2))
    bins_hz = np.arange(size // 2 + 1) * (sample_rate_hz / size)
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    return sparse.csr_array(np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left)))


def log_mel(frames_TN: np.ndarray, bands_MF: sparse.csr_array, floor: float) -> np.ndarray:
    """Return the natural logarithm of the mel energies of frames, [T, M]; nothing is quieter than the floor."""
    log_TM = np.empty((len(frames_TN), bands_MF.shape[0]))
    hann_N = _hann(frames_TN.shape[1])
    # Room for one chunk serves all: fresh pages for every chunk would cost a quarter of the time.
    padded_TN = np.zeros((min(_CHUNK_FRAMES, len(frames_TN)), fft_size(len(hann_N))))
    for start in range(0, len(frames_TN), _CHUNK_FRAMES):
        power_TF = _power(frames_TN[start : start + _CHUNK_FRAMES], hann_N, padded_TN)
        # A sparse product is a plain loop: unlike a BLAS call it sums in one order whatever the threads and the length.
        log_TM[start : start + _CHUNK_FRAMES] = np.log(np.maximum(bands_MF @ power_TF.T, floor)).T
    return log_TM


def cepstra(log_mel_TM: np.ndarray, num_coefficients: int) -> np.ndarray:
    """Return the first coefficients of the orthonormal DCT-II of every frame, [T, K]."""
    return fft.dct(log_mel_TM, type=2, norm="ortho", axis=1)[:, :num_coefficients]


def slopes(x_TD: np.ndarray, reach: int = 2) -> np.ndarray:
    """Return the regression slope over 2 * reach + 1 frames (the `delta` of speech work), the ends repeated."""
    num_frames = len(x_TD)
    padded = np.pad(x_TD, ((reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(x_TD)
    for step in range(1, reach + 1):
        ahead, behind = padded[reach + step :][:num_frames], padded[reach - step :][:num_frames]
        total += step * (ahead - behind)
    return total / (2 * sum(step * step for step in range(1, reach + 1)))


def segment_means(x_TD: np.ndarray, num_segments: int) -> np.ndarray:
    """Return the means over ordered segments, [num_segments, D]; where frames are too few, they serve twice."""
    num_frames = len(x_TD)
    starts = [segment * num_frames // num_segments for segment in range(num_segments)]
    ends = [(segment + 1) * num_frames // num_segments for segment in range(num_segments)]
    return np.stack([x_TD[start : max(end, start + 1)].mean(axis=0) for start, end in zip(starts, ends, strict=True)])


def mel_of_hz(hz: np.ndarray | float) -> np.ndarray:
    """Return Slaney's mel of a frequency."""
    hz = np.asarray(hz, np.float64)
    above = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.minimum(hz, _BREAK_HZ) / _LINEAR_HZ_PER_MEL + above


def hz_of_mel(mel: np.ndarray | float) -> np.ndarray:
    """Return the frequency of Slaney's mel."""
    mel = np.asarray(mel, np.float64)
    break_mel = _BREAK_HZ / _LINEAR_HZ_PER_MEL
    return np.minimum(mel, break_mel) * _LINEAR_HZ_PER_MEL * np.exp(np.maximum(mel - break_mel, 0) * _LOG_STEP)
