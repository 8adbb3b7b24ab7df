from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.registry import make_extractor
from mmpipe.types import AudioClip, AudioNeeds


def sound(num_samples: int, seed: int = 0, start_ns: int = 0, rate: int = 16_000) -> AudioClip:
    wave = np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)
    return AudioClip(wave_N=wave, sample_rate_hz=rate, start_ns=start_ns)


@given(num_samples=st.integers(1, 5000), start_ns=st.integers(0, 10**13))
@settings(max_examples=40, deadline=None)
def test_any_length_gives_finite_rows_inside_the_clip(num_samples: int, start_ns: int) -> None:
    (value,) = make_extractor("audio-logmel").extract([sound(num_samples, start_ns=start_ns)])
    assert value.array.shape == (1 + max(0, num_samples - 400) // 160, 64)
    assert value.array.dtype == np.float32
    assert np.isfinite(value.array).all()
    assert value.times_ns is not None
    assert value.times_ns.dtype == np.int64
    assert value.times_ns[0] == start_ns + 12_500_000
    assert (np.diff(value.times_ns) == 10_000_000).all()


def test_silence_is_the_floor_and_a_shout_beyond_all_scales_stays_finite() -> None:
    extractor = make_extractor("audio-logmel", {"floor": 1e-4})
    silent = AudioClip(wave_N=np.zeros(1600, np.float32), sample_rate_hz=16_000, start_ns=0)
    shout = AudioClip(wave_N=np.full(1600, 3e38, np.float32), sample_rate_hz=16_000, start_ns=0)
    quiet_value, loud_value = extractor.extract([silent, shout])
    assert np.allclose(quiet_value.array, math.log(1e-4))
    assert np.isfinite(loud_value.array).all()


def test_twice_as_loud_is_log_four_more() -> None:
    clip = sound(3200)
    louder = AudioClip(wave_N=2 * clip.wave_N, sample_rate_hz=16_000, start_ns=0)
    one, two = make_extractor("audio-logmel").extract([clip, louder])
    assert np.allclose(two.array - one.array, math.log(4), atol=1e-4)


def test_a_clip_does_not_feel_the_batch() -> None:
    extractor = make_extractor("audio-logmel")
    clips = [sound(length, seed) for seed, length in enumerate((960, 48_000, 1, 7777))]
    together = extractor.extract(clips)
    for clip, value in zip(clips, together, strict=True):
        (alone,) = extractor.extract([clip])
        assert np.array_equal(alone.array, value.array)


def test_parameters_shape_what_is_asked_for_and_what_comes() -> None:
    extractor = make_extractor("audio-logmel", {"sample_rate_hz": 8000, "num_mels": 40, "hop_s": 0.02})
    assert extractor.needs == AudioNeeds(sample_rate_hz=8000)
    (value,) = extractor.extract([sound(8000, rate=8000)])
    assert value.array.shape == (1 + (8000 - 200) // 160, 40)
    assert extractor.schema.dim == 40


def test_not_a_number_is_dropped_with_a_reason() -> None:
    clip = AudioClip(wave_N=np.array([0.0, np.nan], np.float32), sample_rate_hz=16_000, start_ns=0)
    with pytest.raises(SampleError) as caught:
        make_extractor("audio-logmel").extract([clip])
    assert caught.value.code == "nonfinite"


def test_bands_without_a_frequency_are_refused() -> None:
    with pytest.raises(ConfigError, match="fewer num_mels"):
        make_extractor("audio-logmel", {"num_mels": 128, "window_s": 0.005})


def test_another_rate_than_asked_for_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="16000 Hz"):
        make_extractor("audio-logmel").extract([sound(100, rate=8000)])
