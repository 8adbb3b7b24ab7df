from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from mmpipe.errors import SampleError
from mmpipe.features import dsp


def slow_power(frames: np.ndarray, size: int) -> np.ndarray:
    """The discrete Fourier transform, written out."""
    window = frames.shape[1]
    hann = np.array([math.sin(math.pi * n / window) ** 2 for n in range(window)])
    bins, samples = np.arange(size // 2 + 1)[:, None], np.arange(window)[None, :]
    basis = np.exp(-2j * np.pi * bins * samples / size)
    return np.abs((frames * hann) @ basis.T) ** 2


def slow_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def slow_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slow_bands(num: int, size: int, rate: int) -> np.ndarray:
    top = slow_mel(rate / 2)
    edges = [slow_hz(top * i / (num + 1)) for i in range(num + 2)]
    bands = np.zeros((num, size // 2 + 1))
    for m in range(num):
        low, mid, high = edges[m : m + 3]
        for k in range(size // 2 + 1):
            hz = k * rate / size
            if low < hz <= mid:
                bands[m, k] = (hz - low) / (mid - low)
            elif mid < hz < high:
                bands[m, k] = (high - hz) / (high - mid)
            bands[m, k] *= 2 / (high - low)
    return bands


def test_frames_start_at_every_hop_and_hold_a_whole_window() -> None:
    frames = dsp.frame_wave(np.arange(1000, dtype=np.float32), 400, 160)
    assert frames.shape == (4, 400)
    assert frames[:, 0].tolist() == [0, 160, 320, 480]
    assert frames[3, -1] == 879


def test_a_wave_shorter_than_a_window_is_padded_with_silence() -> None:
    frames = dsp.frame_wave(np.ones(3, np.float32), 400, 160)
    assert frames.shape == (1, 400)
    assert frames.sum() == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_wave_with_no_number_in_it_is_dropped_with_a_reason(bad: float) -> None:
    with pytest.raises(SampleError) as caught:
        dsp.frame_wave(np.array([0.0, bad, 0.0], np.float32), 400, 160)
    assert caught.value.code == "nonfinite"


def test_times_are_centres_of_windows_on_the_clock_of_the_asset() -> None:
    times = dsp.frame_times_ns(3, 400, 160, 16_000, 2_000_000_000)
    assert times.dtype == np.int64
    assert times.tolist() == [2_012_500_000, 2_022_500_000, 2_032_500_000]


def test_times_do_not_drift_at_a_rate_that_does_not_divide_a_second() -> None:
    times = dsp.frame_times_ns(1_000_001, 1103, 441, 44_100, 0)
    assert times[-1] == (1_000_000 * 441 * 2 + 1103) * 10**9 // (2 * 44_100)


def test_power_is_the_written_out_fourier_transform() -> None:
    frames = np.random.default_rng(1).normal(size=(5, 400))
    assert dsp.fft_size(400) == 512
    assert np.allclose(dsp.power_spectrum(frames), slow_power(frames, 512), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("num", "size", "rate"), [(64, 512, 16_000), (40, 512, 16_000), (20, 256, 8_000)])
def test_mel_bands_are_slaneys(num: int, size: int, rate: int) -> None:
    bands = dsp.mel_bands(num, size, rate, 0.0, rate / 2).toarray()
    assert np.allclose(bands, slow_bands(num, size, rate), atol=1e-12)
    assert (bands.sum(axis=1) > 0).all()


def test_mel_scale_is_its_own_way_back() -> None:
    hz = np.array([0.0, 440.0, 999.0, 1000.0, 1001.0, 6400.0, 8000.0])
    assert np.allclose(dsp.hz_of_mel(dsp.mel_of_hz(hz)), hz)
    assert dsp.mel_of_hz(6400.0) == pytest.approx(42.0)


def test_a_tone_lands_in_the_band_around_it() -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    bands = dsp.mel_bands(64, 512, 16_000, 0.0, 8000.0)
    energies = dsp.log_mel(dsp.frame_wave(wave, 400, 160), bands, 1e-6)
    loudest = {int(band) for band in energies.argmax(axis=1)}
    centre = 15 / (float(dsp.mel_of_hz(8000.0)) / 65) - 1
    assert all(abs(band - centre) <= 1 for band in loudest)


def test_nothing_is_quieter_than_the_floor() -> None:
    bands = dsp.mel_bands(64, 512, 16_000, 0.0, 8000.0)
    energies = dsp.log_mel(np.zeros((2, 400)), bands, 1e-6)
    assert np.allclose(energies, math.log(1e-6))


def test_log_mel_is_the_logarithm_of_bands_over_power_however_long_the_sound() -> None:
    frames = dsp.frame_wave(np.random.default_rng(5).normal(size=160 * 600), 400, 160)
    bands = dsp.mel_bands(64, 512, 16_000, 0.0, 8000.0)
    expected = np.log(dsp.power_spectrum(frames) @ bands.toarray().T)
    assert np.allclose(dsp.log_mel(frames, bands, 1e-12), expected)


def test_cepstra_are_the_written_out_cosine_transform() -> None:
    x = np.random.default_rng(2).normal(size=(3, 64))
    slow = np.zeros((3, 20))
    for k in range(20):
        scale = math.sqrt((1 if k == 0 else 2) / 64)
        slow[:, k] = scale * sum(x[:, n] * math.cos(math.pi * k * (2 * n + 1) / 128) for n in range(64))
    assert np.allclose(dsp.cepstra(x, 20), slow)


def test_slopes_are_the_least_squares_line_over_five_frames() -> None:
    x = np.random.default_rng(3).normal(size=(30, 4))
    assert np.allclose(dsp.slopes(x), savgol_filter(x, 5, 1, deriv=1, axis=0, mode="nearest"))
    assert np.allclose(dsp.slopes(np.arange(9.0)[:, None])[2:-2], 1.0)


@given(num_frames=st.integers(1, 40), num_segments=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_segments_are_ordered_and_lose_no_frame(num_frames: int, num_segments: int) -> None:
    x = np.arange(num_frames, dtype=float)[:, None]
    means = dsp.segment_means(x, num_segments)[:, 0]
    assert means.shape == (num_segments,)
    assert (np.diff(means) >= 0).all()
    if num_frames >= num_segments:
        shares = np.diff([s * num_frames // num_segments for s in range(num_segments + 1)])
        assert np.isclose((means * shares).sum(), x.sum())
