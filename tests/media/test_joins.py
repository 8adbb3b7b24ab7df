"""Recordings that lie one after the other in one file come out whole, each as it is by itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import MediaSource, decode_clips
from mmpipe.media.joins import JoinedPackets
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.media.survey import survey_file
from mmpipe.types import AudioNeeds, Clip, Modality, Needs, VideoNeeds
from tests.media.conftest import raw_file
from tests.media.test_sparse import KINDS, X264, expect_the_same, some_clips, write_film

Film = Callable[..., Path]
Noise = Callable[..., np.ndarray]
Probe = Callable[..., ProbedFile]
Opened = Callable[[ProbedFile], dict[Modality, MediaSource]]
MakeClip = Callable[[float, float], Clip]
PICTURES, SOUND = VideoNeeds(width_px=64, height_px=48), AudioNeeds(sample_rate_hz=16000)
WARM_N = 1600  # the sound of a part begins with what its decoder kept of the part before


class Witness:
    """Keeps when pictures and sound came."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        self.heard: list[tuple[int, int]] = []

    def picture(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        self.times_ns.append(time_ns)

    def sound(self, first: int, wave_N: np.ndarray) -> None:
        self.heard.append((first, first + len(wave_N)))

    def channels(self, time_ns: int, wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...]) -> None:
        pass


def join(target: Path, *parts: Path) -> None:
    target.write_bytes(b"".join(part.read_bytes() for part in parts))


def look_through(path: Path, probed: ProbedFile) -> tuple[Witness, dict[str, float]]:
    assert not probed.drops, probed.drops
    descriptor = os.open(path, os.O_RDONLY)
    try:
        witness, loss = survey_file(descriptor, probed.streams, LimitsConfig(), Witness, 0.02)
    finally:
        os.close(descriptor)
    return witness, dict(loss.shares)


def decode(sources: dict[Modality, MediaSource], clips: list[Clip], needs: list[Needs]) -> list[Any]:
    found = {one.clip.key: one.media for one in decode_clips(sources, clips, needs, (), LimitsConfig())}
    return [found[clip.key] for clip in clips]


@pytest.mark.parametrize(
    ("suffix", "codec", "sound_codec", "second_size", "clocks"),
    [
        ("mpegts", "libx264", "mp2", (64, 48), (0, 0)),
        ("mpegts", "libx264", "mp2", (96, 80), (0, 0)),  # the pictures change their size
        ("mpegts", "libx264", "mp2", (64, 48), (100, 0)),  # FFmpeg takes this for a clock that has turned over
        ("mpegts", "libx264", "mp2", (64, 48), (100, 99)),
        ("mpeg", "mpeg2video", "mp2", (64, 48), (0, 0)),
        ("mkv", "libx264", "pcm_s16le", (64, 48), (0, 0)),
    ],
)
def test_both_parts_are_as_they_are_alone(
    film: Film,
    noise: Noise,
    probe: Probe,
    opened: Opened,
    clip: MakeClip,
    tmp_path: Path,
    suffix: str,
    codec: str,
    sound_codec: str,
    second_size: tuple[int, int],
    clocks: tuple[int, int],
) -> None:
    parts = [
        film(
            f"{number}.{suffix}",
            50,
            codec=codec,
            size=((64, 48), second_size)[number],
            wave_N=noise(2.0, seed=number),
            sound_codec=sound_codec,
            first_frame=clocks[number] * 25,
            first_sample=clocks[number] * 16000,
        )
        for number in range(2)
    ]
    join(tmp_path / f"both.{suffix}", *parts)
    alone = [probe(part.name) for part in parts]
    both = probe(f"both.{suffix}")
    first_end_ns = max(stream.start_ns + stream.duration_ns for stream in alone[0].streams)
    for stream, second in zip(both.streams, alone[1].streams, strict=True):
        end_ns = first_end_ns + second.start_ns + second.duration_ns
        assert stream.start_ns + stream.duration_ns == pytest.approx(end_ns, abs=50_000_000)
        assert stream.lost_share == 0.0
    witness, shares = look_through(tmp_path / f"both.{suffix}", both)
    assert len(witness.times_ns) == 100 and not any(shares.values())
    assert sum(stop - start for start, stop in witness.heard) == pytest.approx(4 * 16000, abs=2000)

    seconds = [clip(0.0, 2.2), clip(first_end_ns / 1e9, first_end_ns / 1e9 + 2.2)]
    found = decode(opened(both), seconds, [PICTURES, SOUND])
    for number, start_ns in enumerate((0, first_end_ns)):
        true = decode(opened(alone[number]), [clip(0.0, 2.2)], [PICTURES, SOUND])[0]
        count = len(true[PICTURES].times_ns)
        assert count == 50
        times_ns = found[number][PICTURES].times_ns - start_ns
        np.testing.assert_allclose(times_ns[:count], true[PICTURES].times_ns, atol=1_000_000)  # a tick of Matroska
        np.testing.assert_array_equal(found[number][PICTURES].frames[:count], true[PICTURES].frames)
        begin, end = WARM_N * number, 30_000
        mine_N, true_N = found[number][SOUND].wave_N[begin:end], true[SOUND].wave_N[begin:end]
        assert np.corrcoef(mine_N, true_N)[0, 1] > 0.999, "the sound is in its place, to the sample"


@pytest.mark.parametrize("name", ["bframes.mkv", "open.ts", "interlaced.ts", "old.mpg"])
def test_few_pictures_are_those_of_a_full_decode(
    probe: Probe, opened: Opened, clip: MakeClip, tmp_path: Path, name: str
) -> None:
    options = KINDS.get(name, (*X264, "-g", "50", "-bf", "3"))
    lengths_s = (3, 6) if name.endswith("mkv") else (3, 2, 4)  # FFmpeg reads no third of Matroska
    parts = [tmp_path / f"{number}-{name}" for number in range(len(lengths_s))]
    for seconds, part in zip(lengths_s, parts, strict=True):
        write_film(part, options, seconds=seconds)
    join(tmp_path / name, *parts)
    sources, rng = opened(probe(name)), random.Random(name)
    assert sources[Modality.VIDEO].stream.duration_ns == pytest.approx(9e9, abs=500e6)
    for need in (
        VideoNeeds(width_px=48, height_px=32, num_frames=2),
        VideoNeeds(width_px=48, height_px=32, frame_rate=rng.uniform(0.3, 4)),
    ):
        expect_the_same(sources, list(some_clips(clip, rng, 9.0)), need)
        expect_the_same(sources, [clip(0.0, 9.0)], need)
        expect_the_same(sources, [clip(5.5, 6.0)], need)  # nothing of the parts before it is wanted


def test_the_last_part_may_be_the_shorter_and_a_clock_may_turn_over(
    film: Film, noise: Noise, probe: Probe, tmp_path: Path
) -> None:
    turn_s = (1 << 33) // 90_000 - 1  # MPEG's clock turns over in the middle of this one
    first = film(
        "0.mpegts", 100, wave_N=noise(4.0), sound_codec="mp2", first_frame=25 * turn_s, first_sample=16_000 * turn_s
    )
    second = film("1.mpegts", 25, wave_N=noise(1.0), sound_codec="mp2")
    assert probe("0.mpegts").streams[0].duration_ns == pytest.approx(4e9, abs=50e6)
    join(tmp_path / "a.mpegts", first, second)
    probed = probe("a.mpegts")
    assert probed.streams[0].duration_ns == pytest.approx(5e9, abs=60e6)
    witness, shares = look_through(tmp_path / "a.mpegts", probed)
    assert len(witness.times_ns) == 125 and not any(shares.values())


def test_a_sound_that_is_wanted_alone_lies_where_it_does_beside_the_pictures(
    film: Film, noise: Noise, probe: Probe, opened: Opened, clip: MakeClip, tmp_path: Path
) -> None:
    parts = [film(f"{n}.mpegts", 50 + 25 * n, wave_N=noise(1.5, seed=n), sound_codec="mp2") for n in range(3)]
    join(tmp_path / "a.mpegts", *parts)
    sources = opened(probe("a.mpegts"))
    clips = [clip(2.0, 4.0), clip(5.2, 6.7)]
    beside = decode(sources, clips, [PICTURES, SOUND])
    for number, alone in enumerate(decode(sources, clips, [SOUND])):
        np.testing.assert_array_equal(alone[SOUND].wave_N, beside[number][SOUND].wave_N)


def test_chained_ogg_is_heard_to_its_end(
    noise: Noise, probe: Probe, opened: Opened, clip: MakeClip, tmp_path: Path
) -> None:
    for number, seconds in enumerate((2.0, 3.0)):
        soundfile.write(tmp_path / f"{number}.ogg", noise(seconds, seed=number), 16000)
    join(tmp_path / "chain.ogg", tmp_path / "0.ogg", tmp_path / "1.ogg")
    probed = probe("chain.ogg")
    assert probed.streams[0].duration_ns == pytest.approx(5e9, abs=50e6)
    witness, shares = look_through(tmp_path / "chain.ogg", probed)
    assert shares == {"audio": 0.0}
    assert witness.heard[-1][1] == pytest.approx(5 * 16000, abs=800)
    tail = decode(opened(probed), [clip(3.0, 4.9)], [SOUND])[0][SOUND].wave_N
    true = decode(opened(probe("1.ogg")), [clip(0.0, 3.0)], [SOUND])[0][SOUND].wave_N
    places = [np.corrcoef(tail, true[at : at + len(tail)])[0, 1] for at in range(15_600, 16_400)]
    assert max(places) > 0.999 and 15_600 + int(np.argmax(places)) == pytest.approx(16_000, abs=400)


PID_SOUND = 0x101


def ts_packets(path: Path, pid: int | None = None) -> list[bytes]:
    """Return the packets of a transport stream, or those of one track and the tables."""
    data = path.read_bytes()
    cells = [data[at : at + 188] for at in range(0, len(data), 188)]
    return [cell for cell in cells if pid is None or int.from_bytes(cell[1:3], "big") & 0x1FFF in (pid, 0, 0x1000)]


def test_a_fall_of_one_track_alone_is_damage_of_its_true_size(
    film: Film, noise: Noise, probe: Probe, tmp_path: Path
) -> None:
    whole = ts_packets(film("whole.mpegts", 200, wave_N=noise(4.0), sound_codec="mp2"))
    again = ts_packets(film("again.mpegts", 50, wave_N=noise(2.0, seed=1), sound_codec="mp2"), PID_SOUND)
    (tmp_path / "mixed.mpegts").write_bytes(
        b"".join([*whole[: len(whole) * 3 // 4], *again, *whole[len(whole) * 3 // 4 :]])
    )
    (drop,) = probe("mixed.mpegts").drops
    assert drop.code == "decode_error" and "the times of track 1 fall back" in drop.detail
    lenient = probe_file(tmp_path, raw_file(tmp_path, "mixed.mpegts"), LimitsConfig(), max_missing=0.5)
    shares = {stream.role: stream.lost_share for stream in lenient.streams}
    assert shares["audio"] == pytest.approx(2 / 6, abs=0.03)  # two of six seconds of sound have no place
    assert shares["video"] == 0.0


@pytest.mark.parametrize(
    ("suffix", "parts"),
    [("flv", 2), ("mkv", 3), ("mp4", 2), ("wav", 2), ("flac", 2), ("aiff", 2), ("w64", 2)],
    ids=lambda value: str(value),
)
def test_what_ffmpeg_does_not_read_on_to_is_damage_of_its_size(
    film: Film, noise: Noise, probe: Probe, tmp_path: Path, suffix: str, parts: int
) -> None:
    if suffix in ("wav", "flac", "aiff", "w64"):
        soundfile.write(tmp_path / f"one.{suffix}", noise(2.0), 16000)
    else:
        film(f"one.{suffix}", 50)
    assert not probe(f"one.{suffix}").drops
    join(tmp_path / f"more.{suffix}", *[tmp_path / f"one.{suffix}"] * parts)
    (drop,) = probe(f"more.{suffix}").drops
    assert drop.code == "decode_error" and "another recording begins at byte" in drop.detail
    lenient = probe_file(tmp_path, raw_file(tmp_path, f"more.{suffix}"), LimitsConfig(), max_missing=0.6)
    assert lenient.streams[0].lost_share == pytest.approx(1 / parts, abs=0.01)


@dataclass
class Packet:
    """Stands in for a packet: times in hundredths of a second."""

    pts: int
    dts: int
    stream: Any
    is_keyframe: bool = True
    size: int = 1
    time_base: Fraction = Fraction(1, 100)


class Demuxed:
    """Stands in for a container that is read once."""

    format = SimpleNamespace(name="mpegts")

    def __init__(self, stream: Any, times: list[int]) -> None:
        self._packets = [Packet(time, time, stream) for time in times]

    def demux(self, streams: Any) -> Iterator[Packet]:
        return iter(self._packets)


@pytest.mark.parametrize("times", [[0, 4, 8, 9000, 12, 16, 20], [0, 4, 3, 8, 8, 12], [0, 4, 8, 90, 94]])
def test_one_wrong_stamp_is_no_join(times: list[int]) -> None:
    stream = SimpleNamespace(index=0, time_base=Fraction(1, 100))
    packets = JoinedPackets(Demuxed(stream, times), [stream], -1, LimitsConfig())
    assert [(one.packet.pts, one.begins_part) for one in packets] == [(time, False) for time in times]


def test_a_file_that_is_whole_is_read_once(film: Film, noise: Noise, tmp_path: Path) -> None:
    path = film("a.mpegts", 50, wave_N=noise(2.0), sound_codec="mp2")
    with av.open(str(path)) as container:
        plain = [(packet.pts, packet.dts) for packet in container.demux()]
    with av.open(str(path)) as container:
        packets = JoinedPackets(container, list(container.streams), -1, LimitsConfig())  # -1: there is no second look
        assert [(one.packet.pts, one.packet.dts) for one in packets] == plain
