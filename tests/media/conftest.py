"""Small real media, made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.io import escape_name
from mmpipe.media.decode import MediaSource
from mmpipe.media.guard import open_regular
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.types import Clip, Modality, RawFile, clip_key_of

Film = Callable[..., Path]


def raw_file(root: Path, name: str | bytes) -> RawFile:
    status = os.stat(os.path.join(os.fsencode(root), os.fsencode(name)))
    return RawFile(name=escape_name(name), nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


@pytest.fixture
def probe(tmp_path: Path) -> Callable[..., ProbedFile]:
    """Return a function that probes a file of the test's own folder."""

    def probe(name: str | bytes, **limits: float) -> ProbedFile:
        return probe_file(tmp_path, raw_file(tmp_path, name), LimitsConfig(**limits))

    return probe


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[ProbedFile], dict[Modality, MediaSource]]]:
    """Return a function that opens a probed file as sources."""
    descriptors: list[int] = []

    def opened(probed: ProbedFile) -> dict[Modality, MediaSource]:
        assert all(drop.kept for drop in probed.drops), probed.drops
        descriptors.append(open_regular(tmp_path, probed.name))
        sources: dict[Modality, MediaSource] = {}
        for stream in probed.streams:
            sources.setdefault(stream.modality, MediaSource(descriptor=descriptors[-1], stream=stream))
        return sources

    yield opened
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def clip() -> Callable[[float, float], Clip]:
    """Return a function that makes a clip from seconds."""

    def clip(start_s: float, end_s: float) -> Clip:
        start_ns, end_ns = round(start_s * 1e9), round(end_s * 1e9)
        return Clip(key=clip_key_of("a", start_ns, end_ns), asset_id="a", start_ns=start_ns, end_ns=end_ns)

    return clip


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Return a function that writes a film whose pictures get brighter by 4 each, and a sound of known samples."""

    def film(
        name: str,
        num_frames: int = 50,
        codec: str = "libx264",
        size: tuple[int, int] = (64, 48),
        wave_N: np.ndarray | None = None,
        rate_hz: int = 16000,
        sound_codec: str = "pcm_s16le",
        first_frame: int = 0,
        first_sample: int = 0,
        key_every: int = 12,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", format=path.suffix[1:].replace("mkv", "matroska")) as container:
            video = container.add_stream(codec, rate=25) if num_frames else None
            sound = None if wave_N is None else container.add_stream(sound_codec, rate=rate_hz, layout="mono")
            if video is not None:
                video.width, video.height, video.pix_fmt = *size, "yuv420p"
                video.options = {"g": str(key_every), "bf": "2"} | ({"qp": "1"} if codec == "libx264" else {})
                if codec == "mpeg4":
                    video.options = {"g": str(key_every), "qscale": "1"}
                _write_pictures(container, video, num_frames, size, first_frame)
            if sound is not None and wave_N is not None:
                _write_sound(container, sound, wave_N, rate_hz, first_sample)
        return path

    return film


def _write_pictures(container: av.container.OutputContainer, video, num_frames, size, first_frame) -> None:
    for number in range(num_frames):
        pixels = np.full((size[1], size[0], 3), 20 + 4 * (number % 50), np.uint8)
        pixels[: size[1] // 2, : size[0] // 2] = 0  # dark in the upper left corner
        frame = av.VideoFrame.from_ndarray(pixels)
        frame.pts = first_frame + number
        container.mux(video.encode(frame))
    container.mux(video.encode(None))


def _write_sound(container: av.container.OutputContainer, sound, wave_N, rate_hz, first_sample) -> None:
    for start in range(0, len(wave_N), 1000):
        block = (wave_N[start : start + 1000] * 32767).round().astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
        frame.sample_rate, frame.pts = rate_hz, first_sample + start
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return a function that makes quiet noise, exact in 16 bits."""

    def noise(seconds: float, rate_hz: int = 16000, seed: int = 0) -> np.ndarray:
        values = np.random.default_rng(seed).integers(-9000, 9000, round(seconds * rate_hz))
        return (values / 32767).astype(np.float64)

    return noise
