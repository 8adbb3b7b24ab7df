from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct
from scipy.io import wavfile
from scipy.signal import resample_poly, savgol_filter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmpipe.errors import ConfigError
from mmpipe.features.registry import make_extractor
from mmpipe.types import AudioClip


def sound(num_samples: int, seed: int = 0) -> AudioClip:
    wave = np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)
    return AudioClip(wave_N=wave, sample_rate_hz=16_000, start_ns=0)


def test_the_vector_is_made_of_the_log_mel_rows_as_described() -> None:
    clip = sound(8000)
    (mel,) = make_extractor("audio-logmel").extract([clip])
    (value,) = make_extractor("audio-mfccseg").extract([clip])
    cepstra = dct(mel.array.astype(np.float64), type=2, norm="ortho", axis=1)[:, :20]
    slopes = savgol_filter(cepstra, 5, 1, deriv=1, axis=0, mode="nearest")
    bounds = [segment * len(cepstra) // 5 for segment in range(6)]
    segments = [cepstra[a:b, :13].mean(axis=0) for a, b in itertools.pairwise(bounds)]
    expected = np.concatenate([cepstra.mean(0), cepstra.std(0), slopes.mean(0), slopes.std(0), *segments])
    assert value.times_ns is None
    assert np.allclose(value.array, expected, atol=1e-4)


@given(num_samples=st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_any_length_gives_145_finite_numbers(num_samples: int) -> None:
    (value,) = make_extractor("audio-mfccseg").extract([sound(num_samples)])
    assert value.array.shape == (145,)
    assert value.array.dtype == np.float32
    assert np.isfinite(value.array).all()


def test_sixty_milliseconds_still_have_an_order() -> None:
    wave = np.concatenate([np.zeros(480), np.random.default_rng(0).normal(0, 0.1, 480)]).astype(np.float32)
    (value,) = make_extractor("audio-mfccseg").extract([AudioClip(wave_N=wave, sample_rate_hz=16_000, start_ns=0)])
    loudness = value.array[80:].reshape(5, 13)[:, 0]
    assert (np.diff(loudness) >= 0).all()
    assert loudness[-1] > loudness[0]


def test_silence_is_finite_and_does_not_vary() -> None:
    clip = AudioClip(wave_N=np.zeros(4000, np.float32), sample_rate_hz=16_000, start_ns=0)
    (value,) = make_extractor("audio-mfccseg").extract([clip])
    assert np.isfinite(value.array).all()
    assert np.abs(value.array[20:80]).max() < 1e-6


def test_a_clip_does_not_feel_the_batch() -> None:
    extractor = make_extractor("audio-mfccseg")
    clips = [sound(length, seed) for seed, length in enumerate((960, 48_000, 1, 7777))]
    for clip, value in zip(clips, extractor.extract(clips), strict=True):
        assert np.array_equal(extractor.extract([clip])[0].array, value.array)


def test_fewer_bands_than_cepstra_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_mels"):
        make_extractor("audio-mfccseg", {"num_mels": 16})


def test_spoken_digits_of_a_new_speaker_are_heard_well_above_chance(corpora: Path) -> None:
    rows = [json.loads(line) for line in (corpora / "av_digits" / "labels.jsonl").read_text().splitlines()][::5]
    clips = []
    for row in rows:
        rate, samples = wavfile.read(corpora / "av_digits" / "raw" / f"{row['id']}.wav")
        wave = resample_poly(samples.astype(np.float32) / 32768, 16_000 // rate, 1).astype(np.float32)
        clips.append(AudioClip(wave_N=wave, sample_rate_hz=16_000, start_ns=0))
    x = np.stack([value.array for value in make_extractor("audio-mfccseg").extract(clips)])
    y = np.array([row["digit"] for row in rows])
    test = np.array([row["speaker"] == "george" for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-2)).fit(x[~test], y[~test])
    assert model.score(x[test], y[test]) > 0.4
