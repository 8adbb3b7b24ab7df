"""Every format that a corpus may hold: made here, and held to its times, frames, sizes, orientation and digest."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageOps

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import decode_clips
from mmpipe.types import AudioNeeds, ImageNeeds, Modality, VideoNeeds

GRAY = VideoNeeds(width_px=32, height_px=24, gray=True)
SOUND = AudioNeeds(sample_rate_hz=16000)
NUM_FRAMES = 10
STEP = 16  # of brightness, from frame to frame
RATE_HZ = 44100


def ffmpeg(arguments: Sequence[str], data: bytes) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    subprocess.run(command, input=data, check=True, timeout=60)


def pictures(size: tuple[int, int] = (64, 48), num_frames: int = NUM_FRAMES) -> bytes:
    """Return gray frames that get brighter, each with a dark upper left corner."""
    frames_THW = np.empty((num_frames, size[1], size[0]), np.uint8)
    frames_THW[:] = (40 + STEP * np.arange(num_frames, dtype=np.uint8))[:, None, None]
    frames_THW[:, : size[1] // 2, : size[0] // 2] = 16
    return frames_THW.tobytes()


@pytest.fixture
def movie(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a film by FFmpeg's own program."""

    def movie(name: str, *options: str, size: tuple[int, int] = (64, 48), before: Sequence[str] = ()) -> Path:
        given = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-s",
            f"{size[0]}x{size[1]}",
            "-r",
            "25",
            *before,
            "-i",
            "pipe:0",
        ]
        ffmpeg([*given, *options, str(tmp_path / name)], pictures(size))
        return tmp_path / name

    return movie


def numbers(frames_THW: np.ndarray) -> list[int]:
    """Read which frame each one is, from its brightness; what is lossy may be off by a little."""
    bright = frames_THW[:, -6:, -8:].reshape(len(frames_THW), -1).mean(axis=1)
    return [round((float(value) - 40) / STEP) for value in bright]


def decode(sources, clips, needs):
    return {one.clip.key: one.media for one in decode_clips(sources, clips, needs, (), LimitsConfig())}


VIDEOS = {
    "h264.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast"),
    "h264-10bit.mkv": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-preset", "ultrafast"),
    "h264-444.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-preset", "ultrafast"),
    "h264.ts": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0"),
    "h264-fragments.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p", "-preset", "ultrafast"),
    "hevc-10bit.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le"),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-b:v", "1M", "-deadline", "realtime"),
    "av1.mp4": ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"),
    "mpeg1.mpg": ("-c:v", "mpeg1video", "-q:v", "1", "-bf", "0"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-q:v", "1", "-bf", "2"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "1"),
    "prores.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "1", "-pix_fmt", "yuvj420p"),
    "wmv2.wmv": ("-c:v", "wmv2", "-q:v", "1"),
    "flv1.flv": ("-c:v", "flv", "-q:v", "1"),
    "ffv1.mkv": ("-c:v", "ffv1"),
    "interlaced.mkv": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", "-x264opts", "tff=1"),
    "interlaced.mpg": ("-c:v", "mpeg2video", "-q:v", "1", "-flags", "+ildct+ilme"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_film_of_every_kind(name, movie, probe, opened, clip, tmp_path):
    shutil.copy(movie(name, *VIDEOS[name]), tmp_path / f"copy-{name}")
    probed = probe(name)
    (stream,) = probed.streams
    assert (stream.width_px, stream.height_px) == (64, 48)
    assert stream.duration_ns == pytest.approx(NUM_FRAMES * 40_000_000, abs=41_000_000)
    assert probe(f"copy-{name}").streams[0].digest == stream.digest
    one = clip(0.0, 1.0)
    video = decode(opened(probed), [one], [GRAY])[one.key][GRAY]
    assert numbers(video.frames) == list(range(NUM_FRAMES))
    # A container may count in milliseconds, or in 90,000ths.
    np.testing.assert_allclose(video.times_ns, np.arange(NUM_FRAMES) * 40_000_000, atol=1_000_000)
    assert (video.frames[:, :8, :10] < 40).all()  # the dark corner is where it was


@pytest.mark.parametrize(("turn", "corner"), [(90, "lower left"), (180, "lower right"), (270, "upper right")])
def test_a_turned_film_is_set_upright(turn, corner, movie, probe, opened, clip, tmp_path):
    movie("flat.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    ffmpeg(
        ["-display_rotation", str(turn), "-i", str(tmp_path / "flat.mp4"), "-c", "copy", str(tmp_path / "a.mp4")], b""
    )
    probed = probe("a.mp4")
    assert (probed.streams[0].width_px, probed.streams[0].height_px) == ((64, 48) if turn == 180 else (48, 64))
    one = clip(0.0, 1.0)
    frame = decode(opened(probed), [one], [GRAY])[one.key][GRAY].frames[-1]
    corners = {
        "upper left": frame[:8, :10],
        "upper right": frame[:8, -10:],
        "lower left": frame[-8:, :10],
        "lower right": frame[-8:, -10:],
    }
    assert [place for place, pixels in corners.items() if pixels.mean() < 40] == [corner]
    assert probed.streams[0].digest != probe("flat.mp4").streams[0].digest


def test_frames_of_a_variable_rate_keep_their_times(movie, probe, opened, clip):
    wanted = [0, 1, 2, 5, 6, 12, 13, 14, 20, 30]
    times = "+".join(f"eq(N\\,{number})*{place}" for number, place in enumerate(wanted))
    movie("a.mkv", "-vf", f"setpts=({times})/25/TB", "-fps_mode", "vfr", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    one = clip(0.0, 2.0)
    video = decode(opened(probe("a.mkv")), [one], [GRAY])[one.key][GRAY]
    assert numbers(video.frames) == list(range(NUM_FRAMES))
    np.testing.assert_allclose(video.times_ns, np.array(wanted) * 40_000_000, atol=1_000_000)


def test_odd_sizes_are_whole(movie, probe, opened, clip):
    movie("a.mkv", "-c:v", "libx264", "-pix_fmt", "yuv444p", size=(61, 47))
    probed = probe("a.mkv")
    assert (probed.streams[0].width_px, probed.streams[0].height_px) == (61, 47)
    one = clip(0.0, 1.0)
    assert numbers(decode(opened(probed), [one], [GRAY])[one.key][GRAY].frames) == list(range(NUM_FRAMES))


def test_pixels_that_are_not_square_change_no_frame(movie, probe, opened, clip):
    """Every frame is scaled to the extractor's size whatever its proportions: stored or shown, it is the same."""
    movie("square.mkv", "-c:v", "ffv1", "-vf", "setsar=1/1")
    movie("wide.mkv", "-c:v", "ffv1", "-vf", "setsar=2/1")
    one = clip(0.0, 1.0)
    found = [decode(opened(probe(name)), [one], [GRAY])[one.key][GRAY].frames for name in ("square.mkv", "wide.mkv")]
    np.testing.assert_array_equal(found[0], found[1])
    assert probe("wide.mkv").streams[0].width_px == 64  # as stored


# --------------------------------------------------------------------------- sound

SOUNDS = {
    "16.wav": ("-c:a", "pcm_s16le"),
    "24.wav": ("-c:a", "pcm_s24le"),
    "32.wav": ("-c:a", "pcm_s32le"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "8.wav": ("-c:a", "pcm_u8"),
    "alaw.wav": ("-c:a", "pcm_alaw"),
    "a.aiff": ("-c:a", "pcm_s16be"),
    "a.mp3": ("-c:a", "libmp3lame", "-b:a", "192k"),
    "a.flac": ("-c:a", "flac"),
    "vorbis.ogg": ("-c:a", "libvorbis", "-q:a", "6"),
    "a.opus": ("-c:a", "libopus", "-b:a", "128k"),
    "a.m4a": ("-c:a", "aac", "-b:a", "192k"),
    "alac.m4a": ("-c:a", "alac"),
    "a.aac": ("-c:a", "aac", "-b:a", "192k"),
    "a.wma": ("-c:a", "wmav2", "-b:a", "192k"),
}
LATE_S = {"a.aac": 0.025, "a.wma": 0.05}  # what a format cannot say of its encoder's delay
COVERED = ("a.mp3", "a.flac", "a.m4a")


def bursts(seconds: float = 1.0) -> np.ndarray:
    """Return a tone that is loud from 0.4 s to 0.6 s."""
    times_N = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return (np.sin(2 * np.pi * 500 * times_N) * np.where((times_N >= 0.4) & (times_N < 0.6), 0.8, 0.02)).astype("<f4")


@pytest.fixture
def sounding(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a sound by FFmpeg's own program."""

    def sounding(name: str, *options: str) -> Path:
        given = ["-f", "f32le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:0"]
        rate = ("-ar", "48000") if name.endswith("opus") else ()
        ffmpeg([*given, *options, *rate, str(tmp_path / name)], bursts().tobytes())
        return tmp_path / name

    return sounding


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_of_every_kind(name, sounding, probe, opened, clip, tmp_path):
    shutil.copy(sounding(name, *SOUNDS[name]), tmp_path / f"copy-{name}")
    probed = probe(name)
    (stream,) = probed.streams
    assert stream.modality is Modality.AUDIO
    assert stream.duration_ns == pytest.approx(1_000_000_000, abs=70_000_000)
    assert probe(f"copy-{name}").streams[0].digest == stream.digest
    one = clip(0.0, 1.0)
    wave_N = decode(opened(probed), [one], [SOUND])[one.key][SOUND].wave_N
    loud = np.flatnonzero(np.abs(wave_N) > 0.3) / 16000
    assert loud[0] == pytest.approx(0.4, abs=0.004 + LATE_S.get(name, 0))
    assert loud[-1] == pytest.approx(0.6, abs=0.004 + LATE_S.get(name, 0))
    assert np.abs(wave_N).max() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("name", COVERED)
def test_a_cover_is_no_film(name, sounding, probe, tmp_path):
    plain = sounding(f"plain-{name}", *SOUNDS[name])
    Image.new("RGB", (40, 40), (200, 10, 10)).save(tmp_path / "cover.png")
    options = ["-map", "0:a", "-map", "1:v", "-c", "copy", "-disposition:v", "attached_pic"]
    ffmpeg(["-i", str(plain), "-i", str(tmp_path / "cover.png"), *options, str(tmp_path / name)], b"")
    assert [stream.modality for stream in probe(name).streams] == [Modality.AUDIO]
    assert probe(name).streams[0].digest == probe(plain.name).streams[0].digest


# --------------------------------------------------------------------------- pictures

STILL = ImageNeeds(width_px=32, height_px=24)


def still() -> Image.Image:
    pixels = np.full((48, 64, 3), 200, np.uint8)
    pixels[:24, :32] = (10, 20, 30)
    return Image.fromarray(pixels)


def image_of(name: str, probe, opened, clip) -> np.ndarray:
    one = clip(0.0, 0.001)
    return decode(opened(probe(name)), [one], [STILL])[one.key][STILL].image


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"quality": 95}),
        ("progressive.jpeg", {"quality": 95, "progressive": True}),
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("lossy.webp", {"quality": 95}),
        ("a.gif", {}),
        ("a.tiff", {}),
        ("packed.tif", {"compression": "tiff_lzw"}),
        ("a.bmp", {}),
    ],
)
def test_a_picture_of_every_kind(name, options, tmp_path, probe, opened, clip):
    still().save(tmp_path / name, **options)
    shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
    (stream,) = probe(name).streams
    assert (stream.modality, stream.width_px, stream.height_px) == (Modality.IMAGE, 64, 48)
    assert probe(f"copy-{name}").streams[0].digest == stream.digest
    image_HWC = image_of(name, probe, opened, clip).astype(int)
    assert np.abs(image_HWC[2:10, 2:14] - (10, 20, 30)).max() < 12
    assert np.abs(image_HWC[14:, 18:] - 200).max() < 12


@pytest.mark.parametrize("kind", ["webp", "png", "tiff"])
def test_of_pictures_that_move_the_first_one_counts(kind, tmp_path, probe, opened, clip):
    others = [Image.new("RGB", (64, 48), (0, shade, 0)) for shade in (100, 200)]
    more = {"duration": 100, "loop": 0} if kind != "tiff" else {}
    more |= {"lossless": True} if kind == "webp" else {}
    still().save(tmp_path / f"a.{kind}", save_all=True, append_images=others, **more)
    assert [stream.modality for stream in probe(f"a.{kind}").streams] == [Modality.IMAGE]
    assert np.abs(image_of(f"a.{kind}", probe, opened, clip)[14:, 18:].astype(int) - 200).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_every_orientation_is_applied(kind, orientation, tmp_path, probe, opened, clip):
    turned = still()
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = ImageOps.exif_transpose(_with(turned, exif))
    turned.save(tmp_path / f"a.{kind}", exif=exif, **({"lossless": True} if kind == "webp" else {}))
    (stream,) = probe(f"a.{kind}").streams
    assert (stream.width_px, stream.height_px) == upright.size
    expected = np.asarray(upright.resize((32, 24), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(image_of(f"a.{kind}", probe, opened, clip).astype(int) - expected).max() < 25


def _with(image: Image.Image, exif: Image.Exif) -> Image.Image:
    copy = image.copy()
    copy.getexif()[0x0112] = exif[0x0112]
    return copy


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_keep_their_shades(kind, tmp_path, probe, opened, clip):
    shades_HW = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(shades_HW).save(tmp_path / f"a.{kind}")
    image_HWC = image_of(f"a.{kind}", probe, opened, clip)
    assert len(np.unique(image_HWC)) > 100
    assert image_HWC[0, 0, 0] < 8 and image_HWC[-1, -1, 0] > 247
