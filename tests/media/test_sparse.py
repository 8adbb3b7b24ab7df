"""Pictures that nobody wants are not decoded, and what is wanted stays the same to the pixel."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decode import decode_clips
from mmpipe.media.sparse import CannotSkip, PacketSchedule, Run, is_sparse
from mmpipe.types import COVER, Clip, Fit, VideoNeeds

SIZE = {"width_px": 48, "height_px": 32}
ALL = VideoNeeds(**SIZE)
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
X264 = ("-c:v", "libx264", "-preset", "veryfast")
KINDS = {
    "bframes.mp4": (*X264, "-g", "50", "-bf", "3"),
    "pyramid.mkv": (*X264, "-g", "40", "-bf", "6", "-b-pyramid", "normal"),
    "open.ts": (*X264, "-g", "24", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0"),
    "refresh.mkv": (*X264, "-g", "24", "-intra-refresh", "1"),
    "one-key.mp4": (*X264, "-g", "9999", "-sc_threshold", "0"),
    "every-key.mp4": (*X264, "-g", "1"),
    "interlaced.ts": (*X264, "-g", "24", "-flags", "+ildct+ilme"),
    "old.mpg": ("-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "3"),
    "older.mpg": ("-c:v", "mpeg1video", "-g", "12", "-bf", "2", "-q:v", "3"),
    "part2.avi": ("-c:v", "mpeg4", "-g", "20", "-bf", "2", "-q:v", "3"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=30:open-gop=1:log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30"),
    "stills.mov": ("-c:v", "prores_ks", "-profile:v", "0"),
}


def write_film(path: Path, options: tuple[str, ...], *, pictures: str = "null", seconds: float = 6) -> None:
    source = f"testsrc2=s=96x64:r=25:d={seconds},noise=alls=8:allf=t,{pictures}"
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source, *options]
    subprocess.run([*command, "-pix_fmt", "yuv420p" if path.suffix != ".mov" else "yuv422p10le", str(path)], check=True)


def decode(sources, clips, needs):
    return {one.clip.key: one.media for one in decode_clips(sources, clips, needs, (), LimitsConfig())}


def expect_the_same(sources, clips: list[Clip], need: VideoNeeds) -> None:
    whole, alone = decode(sources, clips, [ALL, need]), decode(sources, clips, [need])
    for clip in clips:
        assert (need in whole[clip.key]) == (need in alone[clip.key]), (clip, need)
        if need in whole[clip.key]:
            np.testing.assert_array_equal(alone[clip.key][need].times_ns, whole[clip.key][need].times_ns)
            np.testing.assert_array_equal(alone[clip.key][need].frames, whole[clip.key][need].frames)


def some_clips(clip: Callable[[float, float], Clip], rng: random.Random, end_s: float) -> Iterator[Clip]:
    yield clip(0.0, end_s)
    for _ in range(4):
        start_s = rng.uniform(0, end_s - 0.2)
        yield clip(start_s, rng.uniform(start_s + 0.01, end_s))


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_a_full_decode(tmp_path, probe, opened, clip, name):
    write_film(tmp_path / name, KINDS[name])
    sources, rng = opened(probe(name)), random.Random(name)
    for need in (VideoNeeds(**SIZE, num_frames=2), VideoNeeds(**SIZE, frame_rate=rng.uniform(0.3, 4))):
        expect_the_same(sources, list(some_clips(clip, rng, 6.0)), need)
        expect_the_same(sources, [clip(0.0, 6.0)], need)


@pytest.mark.parametrize("pictures", ["select='not(mod(n\\,7))+gt(random(1)\\,0.6)'", "setpts='PTS*(1+0.4*sin(N))'"])
def test_frames_at_odd_times(tmp_path, probe, opened, clip, pictures):
    write_film(tmp_path / "odd.mkv", (*X264, "-g", "30", "-bf", "3", "-fps_mode", "vfr"), pictures=pictures)
    rng = random.Random(1)
    expect_the_same(opened(probe("odd.mkv")), list(some_clips(clip, rng, 5.5)), VideoNeeds(**SIZE, num_frames=3))


def test_a_film_that_was_cut_without_encoding_it_again(tmp_path, probe, opened, clip):
    write_film(tmp_path / "long.mp4", (*X264, "-g", "60", "-bf", "3"))
    cut = [
        FFMPEG,
        "-v",
        "error",
        "-ss",
        "1.3",
        "-i",
        str(tmp_path / "long.mp4"),
        "-c",
        "copy",
        str(tmp_path / "cut.mp4"),
    ]
    subprocess.run(cut, check=True)  # an edit list hides what comes before the cut
    expect_the_same(opened(probe("cut.mp4")), [clip(0.0, 4.6), clip(2.0, 2.5)], VideoNeeds(**SIZE, num_frames=4))


def test_damage_in_what_must_be_decoded_is_judged_as_if_all_were(tmp_path, probe, opened, clip):
    path = tmp_path / "a.mp4"
    write_film(path, (*X264, "-g", "50", "-bf", "2"))
    sources = opened(probe("a.mp4"))
    data = bytearray(path.read_bytes())
    start = len(data) // 4
    data[start : start + len(data) // 2] = bytes(len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(SampleError, match="cannot be decoded"):
        decode(sources, [clip(0.0, 6.0)], [VideoNeeds(**SIZE, num_frames=8)])


# --------------------------------------------------------------------------- what is passed over


@dataclass(frozen=True, kw_only=True)
class Packet:
    """Stands in for a packet: its time in frames."""

    frame: int | None
    is_keyframe: bool = False
    is_discard: bool = False
    size: int = 100


FRAME_NS = 40_000_000


def packets(*order: int, keys: tuple[int, ...] = (0,)) -> list[Packet]:
    return [Packet(frame=frame, is_keyframe=frame in keys) for frame in order]


@pytest.mark.parametrize("fit", [COVER, Fit(keeps_shape=True, box_px=(50, 50)), Fit(box_px=(60, 40))])
def test_what_is_cut_out_is_that_of_a_full_decode(tmp_path, probe, opened, clip, fit):
    write_film(tmp_path / "a.mp4", KINDS["bframes.mp4"], seconds=3)
    clips = [clip(0.0, 3.0), clip(0.7, 1.9)]
    for way in ({"num_frames": 2}, {"frame_rate": 1.5}):
        expect_the_same(opened(probe("a.mp4")), clips, VideoNeeds(width_px=33, height_px=33, fit=fit, **way))


def schedule_runs(all_packets: list[Packet], clip: Clip, need: VideoNeeds) -> list[Run]:
    def time_of(packet: Packet) -> int | None:
        return None if packet.frame is None else packet.frame * FRAME_NS

    schedule = PacketSchedule([(0, clip)], [need], time_of)
    runs = [run for packet in all_packets for run in schedule.admit(packet)]
    return [*runs, *schedule.release()]


def decoded(run: Run) -> list[int]:
    return [packet.frame for packet, _ in run.packets]


def test_a_run_is_decoded_up_to_its_last_wanted_picture(clip):
    film = packets(*range(40), keys=(0, 10, 20, 30))
    runs = schedule_runs(film, clip(0.0, 1.6), VideoNeeds(**SIZE, num_frames=2))  # frames 10 and 30
    assert [decoded(run) for run in runs] == [[], [10], [], [30]]
    assert [run.anew for run in runs] == [True] * 4
    runs = schedule_runs(film, clip(0.0, 1.6), VideoNeeds(**SIZE, num_frames=3))  # frames 7 (6.67), 20 and 33
    assert [decoded(run) for run in runs] == [list(range(8)), [], [20], [30, 31, 32, 33]]
    assert [len(run.wanted_ns) for run in runs] == [1, 0, 1, 1]


def test_a_wanted_picture_before_its_key_frame_needs_the_run_before(clip):
    film = packets(0, 2, 1, 5, 3, 4, 8, 6, 7, keys=(0, 5))  # 3 and 4 refer to 2 and 5
    runs = schedule_runs(film, clip(3 * 0.04, 4 * 0.04), VideoNeeds(**SIZE, num_frames=1))
    assert [decoded(run) for run in runs] == [[0, 2, 1], [5, 3]]
    assert [run.anew for run in runs] == [True, False]
    runs = schedule_runs(film, clip(6 * 0.04, 7 * 0.04), VideoNeeds(**SIZE, num_frames=1))
    assert [decoded(run) for run in runs] == [[], [5, 8, 6]]  # without 3 and 4, whose references are not there


@pytest.mark.parametrize(
    "film",
    [
        packets(1, 2, keys=()),
        [Packet(frame=0, is_keyframe=True), Packet(frame=None), Packet(frame=1, is_keyframe=True)],
        packets(0, 3, 3, 8, keys=(0, 8)),
        packets(10, 11, 4, 5, keys=(10, 4)),
        packets(*range(1200)),
    ],
    ids=["no key frame", "no time", "the same time twice", "times run back", "too much to hold"],
)
def test_what_cannot_be_foreseen_is_told(clip, film):
    with pytest.raises(CannotSkip):
        schedule_runs(film, clip(0.0, 1.0), VideoNeeds(**SIZE, num_frames=1))


def test_looking_ahead_is_for_few_pictures(clip):
    whole = [(0, clip(0.0, 4.0))]
    assert is_sparse(whole, [VideoNeeds(**SIZE, num_frames=8), VideoNeeds(**SIZE, frame_rate=2)], 25.0)
    assert not is_sparse(whole, [VideoNeeds(**SIZE, num_frames=8), ALL], 25.0)
    assert not is_sparse(whole, [VideoNeeds(**SIZE, frame_rate=24)], 25.0)
    assert not is_sparse([(0, clip(0.0, 0.2))], [VideoNeeds(**SIZE, num_frames=8)], 25.0)
    assert not is_sparse(whole, [VideoNeeds(**SIZE, num_frames=1)], 0.0)
