"""What spoils media on purpose, as pure functions of arrays and a seed: babble at a level, blur, gray blocks.

Where something is drawn, it is by sha256 over the seed and what it is for: no generator's state, no order of calls.
Axes: N samples of a clip, M of a noise, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from mmpipe.types import digest_of, fraction_of

_CELLS = 16  # a picture is covered by cells of a grid of so many by so many
_GRAY = 128
_BLUR_WIDTH_PX = 100  # at which a blur is said


def babble(waves: Sequence[np.ndarray], voices: int, num_samples: int, seed: int) -> np.ndarray:
    """Return several voices at once, float64 of power 1; every voice speaks all the clips, each in an order of its own.

    Clips come at one power, so that none drowns the others. At least one of them must not be silent.
    """
    level = [wave / np.sqrt(power) for wave in map(_as_float64, waves) if (power := _power(wave)) > 0]
    if not level:
        raise ValueError("a babble needs a clip that is not silent")
    total_M = np.zeros(num_samples)
    for voice in range(voices):
        order = sorted(range(len(level)), key=lambda number: digest_of("voice", seed, voice, number))
        total_M += np.resize(np.concatenate([level[number] for number in order]), num_samples)
    power = _power(total_M)
    return total_M / np.sqrt(power) if power > 0 else total_M


def resample(wave_M: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Return a wave at another rate."""
    from scipy.signal import resample_poly

    common = gcd(from_hz, to_hz)
    return wave_M if from_hz == to_hz else np.asarray(resample_poly(wave_M, to_hz // common, from_hz // common))


def add_noise(wave_N: np.ndarray, noise_M: np.ndarray, snr_db: float, seed: int, place: str) -> np.ndarray:
    """Return a clip with noise mixed in, float32 within [-1, 1]; a part of the noise that the seed and place decide.

    The ratio is of the clip's own power to that of the part. A mix beyond full level is made quieter as a whole, so
    that the ratio holds; a silent clip stays as it is.
    """
    wave = _as_float64(wave_N)
    first = int(fraction_of("noise", seed, place) * len(noise_M))
    part = noise_M[(first + np.arange(len(wave))) % len(noise_M)]
    signal, noise = _power(wave), _power(part)
    if signal == 0 or noise == 0:
        return wave_N
    mixed = wave + part * np.sqrt(signal / noise / 10 ** (snr_db / 10))
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)


def blur(pictures: np.ndarray, blur_px: float, *, gray: bool) -> np.ndarray:
    """Return gray pictures [..., H, W], or [..., H, W, 3], uint8, blurred; the width is for 100 px of picture."""
    from scipy.ndimage import gaussian_filter

    sigma = blur_px * pictures.shape[-1 if gray else -2] / _BLUR_WIDTH_PX
    sides = (sigma, sigma) if gray else (sigma, sigma, 0.0)
    made = gaussian_filter(
        pictures.astype(np.float32), (*(0.0,) * (pictures.ndim - len(sides)), *sides), mode="nearest"
    )
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def block_mask(height: int, width: int, share: float, seed: int, place: str) -> np.ndarray:
    """Return which pixels gray blocks cover, bool [H, W]: cells of a grid that the seed and place decide."""
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    order = sorted(range(rows * columns), key=lambda cell: digest_of("block", seed, place, cell))
    covered = np.zeros(rows * columns, dtype=bool)
    covered[order[: round(share * rows * columns)]] = True
    row_of, column_of = np.arange(height) * rows // height, np.arange(width) * columns // width
    return np.asarray(covered.reshape(rows, columns)[row_of[:, None], column_of[None, :]])


def cover(pictures: np.ndarray, mask_HW: np.ndarray, *, gray: bool) -> np.ndarray:
    """Return pictures as for `blur`, gray where the mask says: the same in every frame."""
    return np.where(mask_HW if gray else mask_HW[..., None], np.uint8(_GRAY), pictures)


def _as_float64(wave: np.ndarray) -> np.ndarray:
    return np.asarray(wave, dtype=np.float64)


def _power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(_as_float64(wave)))) if len(wave) else 0.0
