"""`audio-mfcc`: librosa's numbers, slopes, times, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import AudioClip, FeatureValue
from tests.features.librosa_mfcc import CASES, FILE, NUM_SAMPLES, RATE, made_wave, of_librosa


def sound(num_samples: int, start_ns: int = 0) -> AudioClip:
    return AudioClip(wave_N=made_wave(num_samples), sample_rate_hz=RATE, start_ns=start_ns)


def cepstra_of(clip: AudioClip, **params: object) -> FeatureValue:
    (value,) = make_extractor("audio-mfcc", params).extract([clip])
    return value


@pytest.mark.parametrize("case", CASES)
def test_it_gives_the_numbers_of_librosa(case: str) -> None:
    window_s, hop_s, num_mels = CASES[case]
    got = cepstra_of(sound(NUM_SAMPLES), window_s=window_s, hop_s=hop_s, num_mels=num_mels).array
    with np.load(FILE) as kept:
        np.testing.assert_allclose(got, kept[case], rtol=1e-5, atol=1e-4)


@pytest.mark.sweep
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_still_those_of_librosa(case: str) -> None:
    pytest.importorskip("librosa")
    with np.load(FILE) as kept:
        np.testing.assert_allclose(of_librosa(*CASES[case]), kept[case], rtol=1e-6, atol=1e-5)


def test_the_time_of_a_row_is_the_centre_of_its_window() -> None:
    value = cepstra_of(sound(RATE, start_ns=5_000_000_000))
    assert value.array.shape == (98, 39)
    assert value.times_ns is not None
    assert value.times_ns[:2].tolist() == [5_012_500_000, 5_022_500_000]


def test_deltas_are_left_out_on_demand() -> None:
    clip = sound(RATE)
    plain, whole = cepstra_of(clip, deltas=0).array, cepstra_of(clip).array
    assert plain.shape == (98, 13)
    np.testing.assert_array_equal(plain, whole[:, :13])


def test_a_short_clip_and_silence_have_finite_values() -> None:
    assert cepstra_of(sound(7)).array.shape == (1, 39)
    silence = AudioClip(wave_N=np.zeros(RATE, np.float32), sample_rate_hz=RATE, start_ns=0)
    array = cepstra_of(silence).array
    assert np.isfinite(array).all()
    assert not array[:, 13:].any()


def test_what_is_not_finite_is_refused() -> None:
    clip = AudioClip(wave_N=np.full(RATE, np.nan, np.float32), sample_rate_hz=RATE, start_ns=0)
    with pytest.raises(SampleError, match="NaN"):
        cepstra_of(clip)


def test_more_cepstra_than_bands_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most num_mels = 20"):
        make_extractor("audio-mfcc", {"num_mels": 20, "num_cepstra": 21})


def test_every_parameter_is_in_the_fingerprint() -> None:
    marks = {fingerprint(make_extractor("audio-mfcc", p)) for p in ({}, {"deltas": 1}, {"num_cepstra": 12})}
    assert len(marks) == 3
