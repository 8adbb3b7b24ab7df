"""Filters that prepare a track: an allow-list, a clock that stays, a lossless file that leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.decode import MediaSource, decode_clips
from mmpipe.media.ffmpeg import ffmpeg_version, find_ffmpeg
from mmpipe.media.filters import AUDIO_FILTERS, VIDEO_FILTERS, Filter, parse_filter
from mmpipe.media.probe import ProbedFile
from mmpipe.media.renditions import CODE, prepare_arguments, prepared_source
from mmpipe.types import AudioClip, AudioNeeds, Clip, Modality, VideoClip, VideoNeeds

RATE_HZ = 16_000
MILLISECOND = 1_000_000
Opened = Callable[[ProbedFile], dict[Modality, MediaSource]]
MakeClip = Callable[[float, float], Clip]
# One of each, so that no filter of the list comes unmeasured.
SOUND = {
    "aresample": "sample_rate=44100",
    "equalizer": "f=2000:g=3:w=1:t=o",
    "bandpass": "f=1000:w=900:t=h",
    "bandreject": "f=5000:w=50:t=h",
    "highpass": "f=100",
    "lowpass": "f=6000",
    "loudnorm": "I=-20",
    "volume": "volume=-6dB",
    "afftdn": "nr=12:nf=-50",
}
PICTURE = {
    "bwdif": "mode=send_frame",
    "fps": "fps=25",
    "scale": "width=32:height=24",
    "hqdn3d": "luma_spatial=4",
    "eq": "contrast=1.1",
}


def write_click(path: Path, at: int, rate_hz: int = RATE_HZ, seconds: float = 1.5) -> None:
    """Write silence with a click of 4 ms that begins at a sample."""
    wave_N, length = np.zeros(int(rate_hz * seconds)), rate_hz // 250
    wave_N[at : at + length] = np.sin(2 * np.pi * 1000 * np.arange(length) / rate_hz) * np.hanning(length) * 0.8
    write_wave(path, wave_N, rate_hz)


def write_wave(path: Path, wave_N: np.ndarray, rate_hz: int) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes((np.clip(wave_N, -1, 1) * 32_767).round().astype("<i2").tobytes())


def hear(source: MediaSource, clip: Clip, filters: tuple[str, ...], folder: Path, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return the sound of a clip, filtered or as it is."""
    needs = AudioNeeds(sample_rate_hz=rate_hz)

    def decode(source: MediaSource) -> np.ndarray:
        (found,) = decode_clips({Modality.AUDIO: source}, [clip], [needs], (), LimitsConfig())
        heard = found.media[needs]
        assert isinstance(heard, AudioClip)
        return heard.wave_N

    if not filters:
        return decode(source)
    steps = [parse_filter(text, Modality.AUDIO) for text in filters]
    with prepared_source(source, steps, folder, LimitsConfig()) as prepared:
        return decode(prepared)


def delay_of(heard_N: np.ndarray, clean_N: np.ndarray) -> int:
    """Return by how many samples a sound is late: the peak of the correlation."""
    size = 2 * max(len(heard_N), len(clean_N))
    spectrum = np.fft.rfft(heard_N, size) * np.conj(np.fft.rfft(clean_N, size))
    peak = int(np.argmax(np.abs(np.fft.irfft(spectrum))))
    return peak if peak < size // 2 else peak - size


@pytest.mark.parametrize("name", sorted(AUDIO_FILTERS))
def test_a_click_stays_where_it_is(
    name: str, tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    write_click(tmp_path / "click.wav", at=10_007)
    source = opened(probe("click.wav"))[Modality.AUDIO]
    text = f"{name}={SOUND[name]}" if name in SOUND else name
    clean, heard = (hear(source, clip(0, 1.5), filters, tmp_path) for filters in ((), (text,)))
    assert len(heard) == len(clean)
    assert abs(delay_of(heard, clean)) <= RATE_HZ // 1000, "later than a millisecond"


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 25_000, 44_100, 48_000])
def test_the_denoisers_delay_is_taken_out_at_every_rate(
    rate_hz: int, tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    write_click(tmp_path / "click.wav", at=int(rate_hz * 1.4), rate_hz=rate_hz)  # near the end: it must not be cut off
    source = opened(probe("click.wav"))[Modality.AUDIO]
    clean, heard = (
        hear(source, clip(0, 1.5), filters, tmp_path, rate_hz)
        for filters in ((), ("aresample=sample_rate=32000", "afftdn=nr=6"))
    )
    assert len(heard) == len(clean)
    assert abs(delay_of(heard, clean)) <= rate_hz // 1000


def write_film(path: Path, start_s: float, rate: Fraction = Fraction(30_000, 1001)) -> None:
    """Write a film whose sound begins `start_s` after its picture, with a click in it half a second later."""
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("mpeg4", rate=rate), container.add_stream("aac", rate=48_000, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(45):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound_N = np.zeros(48_000, np.float32)
        sound_N[24_000:24_192] = np.sin(2 * np.pi * 1000 * np.arange(192) / 48_000) * np.hanning(192)
        heard = av.AudioFrame.from_ndarray(sound_N[None], format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = 48_000, int(start_s * 48_000), Fraction(1, 48_000)
        container.mux(audio.encode(heard))
        container.mux(audio.encode(None))


def test_sound_that_begins_late_stays_late(
    tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    write_film(tmp_path / "film.mp4", start_s=0.25)
    source = opened(probe("film.mp4"))[Modality.AUDIO]
    clean, heard = (hear(source, clip(0, 1.4), filters, tmp_path) for filters in ((), ("volume=volume=1",)))
    assert len(heard) == len(clean)
    assert abs(delay_of(heard, clean)) <= 1
    assert np.abs(heard - clean).max() < 0.01


@pytest.mark.parametrize("name", sorted(VIDEO_FILTERS))
def test_frames_keep_their_times(
    name: str, tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    write_film(tmp_path / "film.mp4", start_s=0)
    source = opened(probe("film.mp4"))[Modality.VIDEO]
    needs = VideoNeeds(width_px=32, height_px=24, gray=True)

    def see(source: MediaSource) -> VideoClip:
        (found,) = decode_clips({Modality.VIDEO: source}, [clip(0.1, 1.3)], [needs], (), LimitsConfig())
        seen = found.media[needs]
        assert isinstance(seen, VideoClip)
        return seen

    plain = see(source)
    step = parse_filter(f"{name}={PICTURE[name]}" if name in PICTURE else name, Modality.VIDEO)
    with prepared_source(source, [step], tmp_path, LimitsConfig()) as prepared:
        seen = see(prepared)
    if name == "fps":
        assert set(np.diff(seen.times_ns)) == {40 * MILLISECOND}
        return
    assert np.abs(seen.times_ns - plain.times_ns).max() <= 1_000, "the file keeps microseconds"
    assert np.abs(seen.frames.astype(int) - plain.frames).max() < 40


def test_the_denoiser_gains_6_db_on_recordings_in_white_noise(
    corpora: Path, tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    """Over 12 recordings with noise at 5 dB it gains 10.8 dB, and 9.3 dB at least: 6 dB are asked of each of three."""
    for number, name in enumerate(("s1_bbaf2n", "s1_bbbmzn", "s1_bbiz3a")):
        clean_N = _recording(corpora / "grid" / "raw" / f"{name}.mpg") * 0.5
        noise_N = np.random.default_rng(number).standard_normal(len(clean_N))
        noise_N *= np.sqrt(np.mean(clean_N**2) / np.mean(noise_N**2) / 10**0.5)
        write_wave(tmp_path / f"{name}.wav", clean_N + noise_N, RATE_HZ)
        source = opened(probe(f"{name}.wav"))[Modality.AUDIO]
        whole = clip(0, len(clean_N) / RATE_HZ)
        noisy_N, heard_N = (hear(source, whole, use, tmp_path) for use in ((), ("afftdn=nr=20:nf=-25",)))
        assert snr_db(noisy_N, clean_N) == pytest.approx(5, abs=0.2)
        assert snr_db(heard_N, clean_N) > 5 + 6


def _recording(path: Path) -> np.ndarray:
    words = [find_ffmpeg(), "-nostdin", "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(RATE_HZ)]
    heard = subprocess.run([*words, "-f", "f32le", "-"], stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(heard, "<f4").astype(np.float64)


def snr_db(heard_N: np.ndarray, clean_N: np.ndarray) -> float:
    """Return the ratio of what a sound has of the clean one to all else in it."""
    heard_N, clean_N = heard_N[: len(clean_N)].astype(np.float64), clean_N[: len(heard_N)]
    share = np.dot(heard_N, clean_N) / np.dot(clean_N, clean_N)
    rest_N = heard_N - share * clean_N
    return float(10 * np.log10(np.sum((share * clean_N) ** 2) / np.sum(rest_N**2)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("movie=/etc/passwd", "no filter 'movie'"),
        ("amovie=filename=x", "no filter"),
        ("ladspa=file=x", "no filter"),
        ("sendcmd=f=x", "no filter"),
        ("volume=volume=random(0)", "must be a number"),
        ("volume=volume=1e9", "must be a number"),
        ("volume=volume=101", "from 0 to 100"),
        ("volume", "needs volume"),
        ("volume=", "needs volume"),
        ("volume=loud", "volume = 'loud' must be a number from 0 to 100, or from -60dB to 60dB"),
        ("volume=volume=1:2", "'2' is no parameter"),
        ("acompressor=0.5", "'0.5' is no parameter; each is key=value"),
        ("acompressor=threshold=3dB", "or from -60dB to 0dB"),
        ("bass=g=6dB", "g = '6dB' must be a number from -40 to 40, without a unit"),
        ("afftdn=12:-25:white:1", "'1' is no parameter"),
        ("highpass=f=100:frequency=200", "once"),
        ("dynaudnorm=poles=2", "'poles=2' is no parameter"),
        ("volume=volume=1:eval=frame", "no parameter"),
        ("volume=volume=1,amovie=x", "must be a number"),
        ("volume=volume=1;[a]anull", "must be a number"),
        ("highpass=f=100:f=200", "once"),
        ("afftdn=nt=custom", "one of white"),
        ("aresample=sample_rate=8000.5", "whole number"),
        ("volume=volume=nan", "must be a number"),
        ("", "no filter ''"),
    ],
)
def test_what_is_not_on_the_list_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        parse_filter(text, Modality.AUDIO)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("volume=-6dB", "volume=volume=0.501187234"),
        ("acompressor=threshold=-20dB:ratio=4:makeup=6dB", "acompressor=threshold=0.1:ratio=4:makeup=1.995262315"),
        ("agate=threshold=-20dB", "agate=threshold=0.1"),
        ("alimiter=limit=-12dB", "alimiter=limit=0.251188643"),
        ("highpass=3000", "highpass=f=3000"),
        ("equalizer=1000:gain=9", "equalizer=f=1000:g=9"),
        ("loudnorm=-30:5:-3", "loudnorm=I=-30:LRA=5:TP=-3"),
    ],
)
def test_short_forms_mean_what_ffmpeg_says(
    short: str, long: str, tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened, clip: MakeClip
) -> None:
    write_click(tmp_path / "click.wav", at=10_007)
    source = opened(probe("click.wav"))[Modality.AUDIO]
    plain, told, meant = (hear(source, clip(0, 1.5), filters, tmp_path) for filters in ((), (short,), (long,)))
    assert np.abs(told - meant).max() < 1e-6 and np.abs(told - plain).max() > 1e-3


@pytest.mark.parametrize("filters", [AUDIO_FILTERS, VIDEO_FILTERS])
def test_short_forms_are_in_the_order_of_ffmpeg(filters: Mapping[str, Filter]) -> None:
    for name, allowed in filters.items():
        told = subprocess.run([find_ffmpeg(), "-hide_banner", "-h", f"filter={name}"], capture_output=True, text=True)
        found = re.findall(r"^ {1,4}(\w+) +<\w+> +\S+ (.+)$", told.stdout, re.MULTILINE)
        means: dict[str, list[str]] = {}  # options of one meaning are one, under several names
        for option, meaning in found:
            means.setdefault(meaning, []).append(option)
        assert len(means) >= max(len(allowed.order), bool(allowed.aliases)), told.stderr
        for names, key in zip(means.values(), allowed.order, strict=False):
            assert key in names, f"{name}: {key} is not {names}"
        for alias, key in allowed.aliases.items():
            assert any({alias, key} <= set(names) for names in means.values()), f"{name}: {alias} is not {key}"


def test_a_filter_has_one_spelling() -> None:
    assert parse_filter("afftdn=nr=12.0:nf=-25", Modality.AUDIO).text == "afftdn=nf=-25:nr=12"
    assert parse_filter("volume=volume=-6.0dB", Modality.AUDIO).text == "volume=volume=-6dB"
    assert parse_filter("volume=10dB", Modality.AUDIO).text == "volume=volume=10dB"
    assert parse_filter("highpass=200:poles=1", Modality.AUDIO).text == "highpass=f=200:p=1"
    assert parse_filter("scale=320:h=240", Modality.VIDEO).text == "scale=height=240:width=320"
    with pytest.raises(ConfigError, match="no filter 'afftdn' for video"):
        parse_filter("afftdn", Modality.VIDEO)
    with pytest.raises(ConfigError, match="to 240"):
        parse_filter("fps=fps=1/0", Modality.VIDEO)


def test_the_input_is_guarded(tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened) -> None:
    write_click(tmp_path / "click.wav", at=100)
    source = opened(probe("click.wav"))[Modality.AUDIO]
    said = prepare_arguments(source, 99, [parse_filter("highpass", Modality.AUDIO)], LimitsConfig())
    first = said.index("-i")
    assert said[first + 1] == f"file:/proc/self/fd/{source.descriptor}"
    for option in ("-protocol_whitelist", "-format_whitelist", "-codec_whitelist", "-max_alloc", "-max_pixels", "-t"):
        assert said.index(option) < first
    assert said[-1] == "file:/proc/self/fd/99"


def test_faults_are_typed_and_leave_nothing(tmp_path: Path, probe: Callable[..., ProbedFile], opened: Opened) -> None:
    write_click(tmp_path / "click.wav", at=100)
    source = opened(probe("click.wav"))[Modality.AUDIO]
    steps, before = [parse_filter("volume=volume=0.5", Modality.AUDIO)], set(os.listdir(tmp_path))
    for limits in (LimitsConfig(seconds_per_asset=1e-4), LimitsConfig(file_bytes=20_000)):
        with pytest.raises(SampleError) as caught, prepared_source(source, steps, tmp_path, limits):
            pytest.fail("it came out")
        assert caught.value.code == CODE
    with prepared_source(source, steps, tmp_path, LimitsConfig()):
        assert set(os.listdir(tmp_path)) == before  # even while it is used: the file has no name
    assert ffmpeg_version() == ffmpeg_version() != ""


_PARENT = """
import sys
from mmpipe.media.ffmpeg import find_ffmpeg, run_ffmpeg
print("ready", flush=True)
words = ["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "anullsrc", "-f", "null", sys.argv[1]]
run_ffmpeg([find_ffmpeg(), *words], (), 60, "test")
"""


def test_the_program_dies_with_the_worker(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, mark], stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline()
    while not (running := _running(mark, parent.pid)):
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in running):
        assert time.monotonic() < deadline, "ffmpeg outlived its worker"
        time.sleep(0.01)


def _running(mark: str, parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words and int(path.parent.name) != parent and b"anullsrc" in words:
            found.append(int(path.parent.name))
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
