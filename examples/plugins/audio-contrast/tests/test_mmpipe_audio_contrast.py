"""`audio-contrast` gives what its golden says, and tells tones from noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmpipe_audio_contrast import AudioContrast, AudioContrastParams

from mmpipe import AudioClip
from mmpipe.testing import check_extractor

GOLDEN = Path(__file__).parent / "golden"
RATE_HZ = 16_000


def contrasts_of(wave_N: np.ndarray) -> np.ndarray:
    """Return the contrast per band of a sound."""
    clip = AudioClip(wave_N=wave_N.astype(np.float32), sample_rate_hz=RATE_HZ, start_ns=0)
    (value,) = AudioContrast(AudioContrastParams()).extract([clip])
    return value.array[:6]


def test_it_gives_what_its_golden_says() -> None:
    """Other values need another version."""
    check_extractor(AudioContrast, GOLDEN)


def test_a_tone_stands_out_in_its_own_band_and_noise_in_none() -> None:
    """A tone of 1 kHz lies in the fourth band, from 800 to 1600 Hz."""
    seconds_N = np.arange(RATE_HZ) / RATE_HZ
    noise_N = np.random.default_rng(7).normal(0, 0.1, RATE_HZ)
    tone, noise = contrasts_of(np.sin(2 * np.pi * 1000 * seconds_N) + noise_N), contrasts_of(noise_N)
    assert tone.argmax() == 3
    assert tone[3] > noise[3] + 10
    assert np.ptp(noise) < 5


def test_a_band_above_half_the_rate_is_refused() -> None:
    """What could not hold a frequency is told when the config is read."""
    with pytest.raises(ValueError, match="lies above half of sample_rate_hz"):
        AudioContrastParams(sample_rate_hz=8_000, bands=8)
