"""What the probe tells of a track is what a full decode finds: how long it is, how many pictures a second, its form."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.media.survey import survey_file
from mmpipe.types import Modality, RawFile

Probe = Callable[..., ProbedFile]
Film = Callable[..., Path]
Noise = Callable[..., np.ndarray]


class Deaf:
    """Whoever measures nothing."""

    def picture(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        pass

    def sound(self, first: int, wave_N: np.ndarray) -> None:
        pass

    def channels(self, time_ns: int, wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...]) -> None:
        pass


def lost(path: Path, probed: ProbedFile, max_missing: float = 0.02) -> tuple[dict[str, float], bool]:
    """Return the shares that a survey finds lost, and whether a strict decoder refused what was not."""
    assert not probed.drops, probed.drops
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _, loss = survey_file(descriptor, probed.streams, LimitsConfig(), Deaf, max_missing)
    finally:
        os.close(descriptor)
    return dict(loss.shares), loss.is_refused


def wav_head(rate_hz: int, channels: int, nbytes: int) -> bytes:
    align = min(channels * 2, 65_535)
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, min(rate_hz * align, 2**32 - 1), align, 16)
    return b"RIFF" + struct.pack("<I", 36 + nbytes) + b"WAVEfmt " + form + b"data" + struct.pack("<I", nbytes)


def test_a_last_packet_that_does_not_say_how_long_it_lasts(corpora: Path) -> None:
    root, name = corpora / "media_zoo", "mutagen__tests__data__silence-3.wma"
    status = (root / name).stat()
    file = RawFile(name=name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    probed = probe_file(root, file, LimitsConfig())
    assert probed.streams[0].duration_ns == 3_684_000_000
    with av.open(str(root / name)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert probed.streams[0].duration_ns / 1e9 == pytest.approx(samples / 44_100, abs=0.05)
    assert lost(root / name, probed) == ({"audio": 0.0}, False)


def test_pictures_are_counted_where_the_header_guesses_wrongly(film: Film, probe: Probe, tmp_path: Path) -> None:
    film("a.mpegts", 75, codec="mpeg1video")
    (stream,) = probe("a.mpegts").streams
    assert (stream.frame_rate, stream.duration_ns) == (25.0, 3_000_000_000)
    with av.open(str(tmp_path / "vfr.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        times = [*range(20), *range(21, 75, 3)]
        for pts in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * pts, np.uint8))
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    (stream,) = probe("vfr.mp4").streams
    assert stream.frame_rate == pytest.approx(len(times) / (stream.duration_ns / 1e9), abs=1e-4)


def test_a_rate_that_fits_stays_as_the_header_says(film: Film, probe: Probe) -> None:
    film("a.mkv", 50)
    assert probe("a.mkv").streams[0].frame_rate == 25.0


def test_a_limit_of_time_or_pictures_names_its_key_and_the_way_out(film: Film, probe: Probe) -> None:
    film("a.mkv", 50)
    for limits, said in (
        ({"duration_s": 1}, "it lasts longer than it may, limits.duration_s allows 1 s: "),
        ({"frames": 10}, "more pictures than limits.frames allows, 10: "),
    ):
        (drop,) = probe("a.mkv", **limits).drops
        assert drop.detail == said + "change that, or let the file in: mmpipe quarantine release"


def test_a_sound_that_its_container_stretches_is_not_damaged(tmp_path: Path, probe: Probe) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        for number in range(75):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * number, np.uint8))
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        wave_N = (np.sin(np.arange(3 * 44_100) * 0.05) * 9_000).astype(np.int16)
        for start in range(0, len(wave_N), 1024):
            block = av.AudioFrame.from_ndarray(wave_N[None, start : start + 1024], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 44_100, start, Fraction(1, 44_100)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    with av.open(str(tmp_path / "a.mp4")) as container:
        first = next(container.demux(audio=0))
        assert first.duration and first.duration > 2_000  # this is what was taken for a hole
    assert lost(tmp_path / "a.mp4", probe("a.mp4")) == ({"video": 0.0, "audio": 0.0}, False)


def test_a_track_that_is_whole_has_lost_nothing_though_another_has(film: Film, noise: Noise, probe: Probe) -> None:
    path = film("a.mkv", 100, codec="mpeg4", wave_N=noise(4.0))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place, size = places[-1]
    at = data.index(b"\x00\x00\x01\xb6", place)
    data[at : at + size - 8] = bytes(size - 8)
    path.write_bytes(data)
    shares, _ = lost(path, probe("a.mkv"))
    assert shares["audio"] == 0.0 < shares["video"] <= 0.02


@pytest.mark.parametrize(
    ("rate_hz", "channels", "code", "words"),
    [
        (4_000_000_000, 1, "limit_rate", "4000000000 Hz, limits.min_sample_rate_hz and limits.sample_rate_hz allow"),
        (8_000, 65_535, "limit_channels", "65535 channels of sound, limits.channels allows 64"),
    ],
)
def test_claims_that_ffmpeg_cannot_hold_have_their_own_words(
    tmp_path: Path, probe: Probe, rate_hz: int, channels: int, code: str, words: str
) -> None:
    (tmp_path / "a.wav").write_bytes(wav_head(rate_hz, channels, 131_070) + bytes(131_070))
    (drop,) = probe("a.wav").drops
    assert drop.code == code and words in drop.detail and "mmpipe quarantine release" in drop.detail


def test_what_a_header_declares_is_held_to_the_very_share(
    film: Film, noise: Noise, probe: Probe, tmp_path: Path
) -> None:
    path = film("a.flac", 0, wave_N=noise(10.0), sound_codec="flac")
    whole = path.read_bytes()
    for cut, code in ((0.015, ""), (0.03, "decode_error")):
        path.write_bytes(whole[: round(len(whole) * (1 - cut))])
        probed = probe("a.flac")
        assert [drop.code for drop in probed.drops] == [code] * bool(code)
        assert all(stream.modality is Modality.AUDIO and stream.lost_share > 0 for stream in probed.streams)
