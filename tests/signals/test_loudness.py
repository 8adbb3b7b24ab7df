"""Loudness agrees with FFmpeg's meter and with the standard's own figures."""

from __future__ import annotations

import re
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from mmpipe.signals.loudness import HOP_NS, SAMPLE_RATE_HZ, LoudnessMeter, LoudnessSeries, summarise_loudness

SECOND_NS = 1_000_000_000


def measure(wave_N: np.ndarray, block: int = 100_000, start_ns: int = 0) -> LoudnessSeries:
    meter = LoudnessMeter(start_ns)
    for first in range(0, len(wave_N), block):
        meter.push(wave_N[first : first + block].astype(np.float32))
    return meter.finish()


def loudness(wave_N: np.ndarray) -> float | None:
    return summarise_loudness(measure(wave_N), 0, 1000 * SECOND_NS).loudness_lufs


def tone(hz: float, level_db: float, seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """A sine; the level is that of its peak."""
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def voices(rate_hz: int) -> np.ndarray:
    """Tones over the whole band that come and go, and a pause."""
    parts = [sum(tone(hz, level, 1.5, rate_hz) for hz in (120, 900, 4300)) for level in (-30, -18, -55, -22)]
    return np.concatenate((*parts, np.zeros(rate_hz), parts[1]))


def ffmpeg_loudness(wave_N: np.ndarray, rate_hz: int, path: Path) -> float:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.rint(wave_N * 32767).astype("<i2").tobytes())
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", "-i", str(path), "-af", "ebur128", "-f", "null", "-"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", report)[-1])


@pytest.mark.parametrize("hz", [60, 200, 997, 3000, 6000])
def test_loudness_of_tones_is_ffmpegs(hz: float, tmp_path: Path) -> None:
    theirs = ffmpeg_loudness(tone(hz, -20, 5, 48_000), 48_000, tmp_path / "tone.wav")
    assert loudness(tone(hz, -20, 5)) == pytest.approx(theirs, abs=0.2)


def test_gated_loudness_is_ffmpegs(tmp_path: Path) -> None:
    theirs = ffmpeg_loudness(voices(48_000), 48_000, tmp_path / "voices.wav")
    assert loudness(voices(SAMPLE_RATE_HZ)) == pytest.approx(theirs, abs=0.2)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(-23, 20)], -23),  # EBU Tech 3341, case 1
        ([(-33, 20)], -33),  # case 2
        ([(-36, 10), (-23, 60), (-36, 10)], -23),  # case 3: the relative gate
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),  # case 4: and the absolute one
    ],
)
def test_ebu_test_signals(levels: list[tuple[float, float]], expected: float) -> None:
    # The cases are stereo; one channel alone has half the power, 3.01 LU less.
    signal = np.concatenate([tone(1000, level, seconds) for level, seconds in levels])
    assert loudness(signal) == pytest.approx(expected - 3.01, abs=0.1)


def test_series_does_not_depend_on_the_blocks() -> None:
    signal = np.random.default_rng(0).uniform(-1.2, 1.2, 5_003)
    whole, pieces = measure(signal), measure(signal, block=77)
    for name in ("weighted_T", "power_T", "peak_T", "clipped_T"):
        np.testing.assert_allclose(getattr(whole, name), getattr(pieces, name), rtol=1e-5)
    assert len(whole) == len(pieces) == 32


def test_peak_of_a_range() -> None:
    signal = np.zeros(SAMPLE_RATE_HZ)
    signal[8_000] = 0.5
    series = measure(signal, start_ns=SECOND_NS)
    assert summarise_loudness(series, SECOND_NS, 2 * SECOND_NS).peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert summarise_loudness(series, SECOND_NS, SECOND_NS + 5 * HOP_NS).peak_dbfs == -120.0


def test_clipping_counts_runs_of_three() -> None:
    signal = np.zeros(1_600)
    signal[10:12] = 1.0
    signal[158:163] = -1.0  # over the border of two hops
    signal[-3:] = 1.0
    summary = summarise_loudness(measure(signal, block=160), 0, SECOND_NS)
    assert summary.clipping_share == pytest.approx(8 / 1_600)
    assert summary.peak_dbfs == pytest.approx(0.0)


def test_silence_share() -> None:
    signal = np.concatenate((tone(440, -20, 1), tone(440, -70, 3)))
    assert summarise_loudness(measure(signal), 0, 4 * SECOND_NS).silence_share == pytest.approx(0.75, abs=0.01)


def test_silence_has_the_floors_and_nothing_has_no_loudness() -> None:
    silence = summarise_loudness(measure(np.zeros(16_000)), 0, SECOND_NS)
    assert (silence.loudness_lufs, silence.peak_dbfs, silence.silence_share) == (-70.0, -120.0, 1.0)
    faint = summarise_loudness(measure(tone(1000, -90, 1)), 0, SECOND_NS)
    assert faint.loudness_lufs == -70.0 and faint.peak_dbfs == pytest.approx(-90.0, abs=0.1)
    assert summarise_loudness(measure(np.zeros(0)), 0, SECOND_NS).silence_share is None
    assert summarise_loudness(measure(np.zeros(16_000)), 5 * SECOND_NS, 6 * SECOND_NS).silence_share is None


def test_short_sound_has_a_loudness() -> None:
    assert loudness(tone(1000, -23, 0.2)) == pytest.approx(-26.01, abs=0.3)


def test_samples_that_are_no_numbers_count_as_zero() -> None:
    signal = tone(1000, -23, 2)
    signal[500] = np.nan
    assert loudness(signal) == pytest.approx(-26.01, abs=0.1)


# --------------------------------------------------------------------------- channels


def ffmpeg_levels(wave_CN: np.ndarray, rate_hz: int, layout: str) -> tuple[float, float]:
    """Return integrated loudness and sample peak, as FFmpeg's ebur128 has them."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    sound = ["-f", "f32le", "-ar", str(rate_hz), "-channel_layout", layout, "-i", "pipe:0"]
    meter = ["-af", "ebur128=peak=sample", "-f", "null", "-"]
    data = np.ascontiguousarray(wave_CN.T, "<f4").tobytes()
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", *sound, *meter], input=data, capture_output=True, check=True
    )
    report = done.stderr.decode()
    loudness_lufs, peak_dbfs = (
        re.findall(rf"{name}:\s+(-?[\d.]+) {unit}", report)[-1] for name, unit in (("I", "LUFS"), ("Peak", "dBFS"))
    )
    return float(loudness_lufs), float(peak_dbfs)


def measure_channels(wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...], block: int = 1024) -> LoudnessSeries:
    meter = LoudnessMeter()
    for first in range(0, wave_CN.shape[1], block):
        meter.push(wave_CN[:, first : first + block], rate_hz, names)
    return meter.finish()


def noises(num_channels: int, rate_hz: int) -> np.ndarray:
    return np.random.default_rng(num_channels).normal(0, 0.08, (num_channels, 3 * rate_hz)).clip(-1, 1)


ONE = tone(440, -6, 3, 48_000)
SURROUND = ("FL", "FR", "FC", "LFE", "SL", "SR")


@pytest.mark.parametrize(
    ("wave_CN", "rate_hz", "layout", "names"),
    [
        (np.stack((ONE, -ONE)), 48_000, "stereo", ("FL", "FR")),
        (np.stack((ONE, 0 * ONE)), 48_000, "stereo", ("FL", "FR")),
        (np.stack((ONE, ONE)), 48_000, "stereo", ("FL", "FR")),
        (noises(2, 44_100), 44_100, "stereo", ("FL", "FR")),
        (noises(2, 11_025), 11_025, "stereo", ("FL", "FR")),
        (noises(6, 48_000), 48_000, "5.1(side)", SURROUND),
        (noises(6, 48_000) * np.array([0, 0, 0, 9, 0.1, 0])[:, None], 48_000, "5.1(side)", SURROUND),
    ],
)
def test_all_channels_count_as_they_do_for_ffmpeg(
    wave_CN: np.ndarray, rate_hz: int, layout: str, names: tuple[str, ...]
) -> None:
    ours = summarise_loudness(measure_channels(wave_CN, rate_hz, names), 0, 10 * SECOND_NS)
    loudness_lufs, peak_dbfs = ffmpeg_levels(wave_CN, rate_hz, layout)
    assert ours.loudness_lufs == pytest.approx(loudness_lufs, abs=0.15)
    assert ours.peak_dbfs == pytest.approx(peak_dbfs, abs=0.06)
    assert ours.silence_share == 0.0


def test_clipping_and_silence_are_those_of_any_and_of_all_channels() -> None:
    left, right = np.zeros((2, 48_000))
    left[4_800:9_600], right[7_200:12_000] = 1.0, -1.0
    ours = summarise_loudness(measure_channels(np.stack((left, right)), 48_000, ("FL", "FR")), 0, SECOND_NS)
    assert ours.clipping_share == pytest.approx(7_200 / 48_000)  # from the first to the last of either
    assert ours.silence_share == pytest.approx(1 - 7_200 / 48_000)


@pytest.mark.parametrize("rate_hz", [2_000, 11_025, 44_100])
def test_series_of_channels_does_not_depend_on_the_blocks(rate_hz: int) -> None:
    wave_CN = 15 * noises(2, rate_hz)[:, : rate_hz + 77]
    whole, pieces = (measure_channels(wave_CN, rate_hz, ("FL", "FR"), block) for block in (10**6, 61))
    for name in ("weighted_T", "power_T", "peak_T", "clipped_T"):
        assert np.isfinite(getattr(whole, name)).all()
        np.testing.assert_allclose(getattr(whole, name), getattr(pieces, name), rtol=1e-4, atol=1e-7)
    hop = 57 * rate_hz // 100, 58 * rate_hz // 100
    assert whole.power_T[57] == pytest.approx(
        np.square(wave_CN[:, slice(*hop)].clip(-15, 15)).mean(axis=1).max(), rel=1e-4
    )


def test_long_pauses_are_silence_and_what_comes_twice_is_heard_once() -> None:
    wave_CN, rate_hz, names = noises(2, 22_050), 22_050, ("FL", "FR")
    meter = LoudnessMeter(SECOND_NS)
    for start in range(0, 22_050, 2_205):
        meter.push(wave_CN[:, start : start + 3_000], rate_hz, names, SECOND_NS + start * SECOND_NS // rate_hz)
    meter.push(wave_CN[:, 30_000:], rate_hz, names, 3601 * SECOND_NS)  # an hour later
    told = 22_050 - 2_205 + 3_000
    even_CN = np.concatenate(
        (wave_CN[:, :told], np.zeros((2, 10 * rate_hz - told)), wave_CN[:, 30_000:]), axis=1
    )  # ten seconds later
    ours, even = meter.finish(), measure_channels(even_CN, rate_hz, names)
    assert len(ours) == len(even) + 3590 * 100
    np.testing.assert_allclose(ours.power_T[:500], even.power_T[:500], rtol=1e-4)
    np.testing.assert_allclose(ours.weighted_T[360_000:], even.weighted_T[1_000:], rtol=1e-3)
    assert (ours.power_T[200:359_999] == 0).all()


def test_sound_may_change_its_rate_and_its_channels() -> None:
    meter = LoudnessMeter()
    meter.push(tone(1000, -20, 2.003, 48_000), 48_000, ("FC",), 0)
    both_CN = np.stack([tone(1000, -20, 2, 16_000)] * 2)
    meter.push(both_CN, 16_000, ("FL", "FR"), 2_003_000_000)
    series = meter.finish()
    assert len(series) == pytest.approx(400, abs=1)
    first, second = (summarise_loudness(series, at * SECOND_NS, (at + 1) * SECOND_NS) for at in (0, 3))
    assert first.loudness_lufs == pytest.approx(-23.01, abs=0.1) and second.loudness_lufs == pytest.approx(
        -20.0, abs=0.1
    )
