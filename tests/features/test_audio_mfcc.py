"""`audio-mfcc`: librosa's numbers, slopes, times, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import AudioClip, FeatureValue

RATE = 16_000


def sound(num_samples: int, start_ns: int = 0) -> AudioClip:
    rng = np.random.default_rng(num_samples)
    wave = rng.normal(0, 0.1, num_samples) * np.linspace(0, 1, num_samples)
    return AudioClip(wave_N=wave.astype(np.float32), sample_rate_hz=RATE, start_ns=start_ns)


def cepstra_of(clip: AudioClip, **params: object) -> FeatureValue:
    (value,) = make_extractor("audio-mfcc", params).extract([clip])
    return value


@pytest.mark.parametrize(("window_s", "hop_s", "num_mels"), [(0.025, 0.010, 40), (0.032, 0.016, 26)])
def test_it_gives_the_numbers_of_librosa(window_s: float, hop_s: float, num_mels: int) -> None:
    librosa = pytest.importorskip("librosa")
    clip = sound(20_011)
    got = cepstra_of(clip, window_s=window_s, hop_s=hop_s, num_mels=num_mels).array
    window = round(window_s * RATE)
    size = 1 << (window - 1).bit_length()
    beside = (size - window) // 2  # librosa centres a window within its transform
    mel = librosa.feature.melspectrogram(
        y=np.pad(clip.wave_N, (beside, beside)).astype(np.float64),
        sr=RATE,
        n_fft=size,
        win_length=window,
        hop_length=round(hop_s * RATE),
        center=False,
        n_mels=num_mels,
    )
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(mel, amin=1e-10, top_db=None), n_mfcc=13)
    slopes = librosa.feature.delta(cepstra, width=5, mode="nearest")
    again = librosa.feature.delta(slopes, width=5, mode="nearest")
    np.testing.assert_allclose(got, np.concatenate([cepstra, slopes, again]).T, rtol=1e-5, atol=1e-4)


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
