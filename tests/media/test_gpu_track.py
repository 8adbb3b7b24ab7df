"""Pictures that are made elsewhere: the same ones as on the CPU, and the CPU's where they cannot be.

`PyAvMaker` scales as the CPU does, so what comes back must be equal to the byte: that shows which pictures are picked,
how runs are cut out, and that nothing is lost on the way; what a GPU makes of them is its own test.
"""

from __future__ import annotations

import random
import struct
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.decode import decode_clips
from mmpipe.media.picture_maker import CannotUseGpu, PyAvMaker, flatten, unflatten
from mmpipe.types import COVER, Clip, EncodedPictures, Fit, Stream, VideoClip, VideoNeeds
from tests.media.test_sparse import FFMPEG, KINDS, write_film

SMALL: dict[str, Any] = {"width_px": 48, "height_px": 32}
NEEDS = [
    VideoNeeds(**SMALL),
    VideoNeeds(**SMALL, num_frames=5),
    VideoNeeds(width_px=16, height_px=16, frame_rate=1.0, gray=True),
    VideoNeeds(**SMALL, only_keyframes=True),
    VideoNeeds(width_px=20, height_px=20, num_frames=2, fit=COVER),
    VideoNeeds(width_px=20, height_px=30, num_frames=3, fit=Fit(keeps_shape=True, box_px=(26, 26))),
]
FILMS = KINDS | {
    "av1.mkv": ("-c:v", "libsvtav1", "-preset", "12", "-g", "40", "-svtav1-params", "lp=1"),
    "hidden.webm": ("-c:v", "libvpx-vp9", "-g", "60", "-auto-alt-ref", "1", "-lag-in-frames", "20", "-cpu-used", "5"),
}
BY_THE_CPU = {
    "old.mpg": "codec_mpeg2video",
    "older.mpg": "codec_mpeg1video",
    "part2.avi": "codec_mpeg4",
    "refresh.mkv": "no_key_frame",
    "stills.mov": "codec_prores",
}


@dataclass
class Counting:
    """A maker that remembers what it was asked for."""

    inner: PyAvMaker = field(default_factory=PyAvMaker)
    runs: list[EncodedPictures] = field(default_factory=list)
    fails_at: int = -1
    fault: Exception = field(default_factory=lambda: CannotUseGpu("nvdec_error"))

    def make(self, run: EncodedPictures) -> list[np.ndarray]:
        self.runs.append(run)
        if len(self.runs) - 1 == self.fails_at:
            raise self.fault
        return self.inner.make(run)


def spread(rng: random.Random, clip: Any, seconds: float = 6.0) -> list[Clip]:
    starts = [rng.uniform(0, seconds - 0.3) for _ in range(6)]
    return [clip(0.0, seconds), *(clip(start, min(seconds, start + rng.uniform(0.02, 2.5))) for start in starts)]


def decode(sources: Any, clips: list[Clip], needs: list[VideoNeeds], maker: Any = None) -> tuple[Any, list[str]]:
    reasons: list[str] = []

    def note(_stream: Stream, reason: str) -> None:
        reasons.append(reason)

    found = {
        one.clip.key: one.media
        for one in decode_clips(sources, clips, needs, (), LimitsConfig(), maker=maker, note_fallback=note)
    }
    return found, reasons


def expect_the_cpus(sources: Any, clips: list[Clip], needs: list[VideoNeeds], maker: Any) -> list[str]:
    """Compare with what the CPU gives for the same needs; return why the CPU was taken."""
    plain, _ = decode(sources, clips, needs)
    found, reasons = decode(sources, clips, [replace(need, decoder="nvdec") for need in needs], maker)
    assert set(found) == set(plain)
    for clip in clips:
        for need in needs:
            ours, theirs = found[clip.key].get(replace(need, decoder="nvdec")), plain[clip.key].get(need)
            assert (ours is None) == (theirs is None), (clip, need)
            if isinstance(ours, VideoClip) and isinstance(theirs, VideoClip):
                np.testing.assert_array_equal(ours.times_ns, theirs.times_ns)
                np.testing.assert_array_equal(ours.frames, theirs.frames)
    return reasons


@pytest.mark.parametrize("name", sorted(FILMS))
def test_clips_get_the_very_pictures_that_the_cpu_gives_them(
    name: str, tmp_path: Path, probe: Any, opened: Any, clip: Any
) -> None:
    write_film(tmp_path / name, FILMS[name])
    sources, maker = opened(probe(name)), Counting()
    clips = spread(random.Random(name), clip)
    reasons = {reason for needs in (NEEDS, NEEDS[1:3]) for reason in expect_the_cpus(sources, clips, needs, maker)}
    assert reasons == ({BY_THE_CPU[name]} if name in BY_THE_CPU else set())
    assert bool(maker.runs) == (not reasons or reasons == {"no_key_frame"})


def test_only_runs_with_a_wanted_picture_travel(film: Any, probe: Any, opened: Any, clip: Any) -> None:
    film("a.mp4", 100, key_every=10)
    maker = Counting()
    assert not expect_the_cpus(
        opened(probe("a.mp4")), [clip(1.0, 1.1), clip(3.0, 3.1)], [VideoNeeds(**SMALL, num_frames=1)], maker
    )
    assert [len(run.numbers) for run in maker.runs] == [1, 1]
    assert all(run.num_pictures <= 10 for run in maker.runs)


def test_both_decoders_serve_one_asset_at_once(film: Any, probe: Any, opened: Any, clip: Any) -> None:
    film("a.mp4", 50, wave_N=np.zeros(32000, np.float32), sound_codec="aac")
    need, maker = VideoNeeds(**SMALL, num_frames=3), Counting()
    there = replace(need, decoder="nvdec")
    found, reasons = decode(opened(probe("a.mp4")), [clip(0.0, 1.0), clip(1.0, 2.0)], [need, there], maker)
    assert not reasons and len(found) == 2 and maker.runs
    for media in found.values():
        np.testing.assert_array_equal(media[need].frames, media[there].frames)


@pytest.mark.parametrize("fails_at", [0, 2])
def test_what_it_cannot_make_the_cpu_makes_from_there_on(
    fails_at: int, film: Any, probe: Any, opened: Any, clip: Any
) -> None:
    film("a.mp4", 100, key_every=10)
    clips = [clip(start / 2, start / 2 + 0.5) for start in range(8)]
    maker = Counting(fails_at=fails_at)
    assert expect_the_cpus(opened(probe("a.mp4")), clips, NEEDS[1:3], maker) == ["nvdec_error"]
    assert len(maker.runs) == fails_at + 1


def test_a_run_that_ends_its_process_costs_the_clips_that_are_left(
    film: Any, probe: Any, opened: Any, clip: Any
) -> None:
    film("a.mp4", 50)
    maker = Counting(fails_at=0, fault=SampleError("device_killed", "alone and twice"))
    with pytest.raises(SampleError, match="device_killed"):
        decode(opened(probe("a.mp4")), [clip(0.0, 2.0)], [VideoNeeds(**SMALL, decoder="nvdec")], maker)


def test_the_cpu_does_not_step_in_for_what_is_not_there(film: Any, probe: Any, opened: Any, clip: Any) -> None:
    film("a.mp4", 50)
    with pytest.raises(ConfigError, match="nothing here to do so"):
        decode(opened(probe("a.mp4")), [clip(0.0, 2.0)], [replace(NEEDS[1], decoder="nvdec")])


def test_a_turned_film_is_the_cpus(film: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path) -> None:
    data = film("a.mp4", 4, size=(64, 48)).read_bytes()
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    start = data.index(upright, data.index(b"tkhd"))
    (tmp_path / "b.mp4").write_bytes(data[:start] + quarter + data[start + len(quarter) :])
    maker = Counting()
    assert expect_the_cpus(opened(probe("b.mp4")), [clip(0.0, 0.16)], NEEDS, maker) == ["turned"]
    assert not maker.runs


@pytest.mark.parametrize("start_s", ["0.7", "2.3"])
def test_pictures_that_an_edit_list_hides_are_shown_by_nobody(
    start_s: str, tmp_path: Path, probe: Any, opened: Any, clip: Any
) -> None:
    write_film(tmp_path / "whole.mp4", KINDS["bframes.mp4"])
    cut = ["-v", "error", "-y", "-ss", start_s, "-i", str(tmp_path / "whole.mp4"), "-c", "copy"]
    subprocess.run([FFMPEG, *cut, str(tmp_path / "a.mp4")], check=True)
    clips = [clip(0.0, 3.0), clip(0.0, 0.1), clip(1.1, 2.9)]
    assert expect_the_cpus(opened(probe("a.mp4")), clips, NEEDS, Counting()) == ["packets"]


def test_a_run_that_is_too_long_to_hold_is_the_cpus(film: Any, probe: Any, opened: Any, clip: Any) -> None:
    film("a.mp4", 1100, key_every=2000, size=(16, 16))
    assert expect_the_cpus(opened(probe("a.mp4")), [clip(40.0, 44.0)], NEEDS[1:2], Counting()) == ["packets"]


def test_a_packet_that_is_marked_as_broken_is_the_cpus(probe: Any, opened: Any, clip: Any, tmp_path: Path) -> None:
    """A transport stream counts its pieces: one that is missing shows, and the CPU judges what is lost with it."""
    write_film(tmp_path / "whole.ts", KINDS["open.ts"], seconds=20)
    data = (tmp_path / "whole.ts").read_bytes()
    pieces = [data[start : start + 188] for start in range(0, len(data), 188)]
    place = next(at for at in range(len(pieces) // 2, len(pieces)) if not pieces[at][1] & 0x40)  # inside a picture
    (tmp_path / "a.ts").write_bytes(b"".join(pieces[:place] + pieces[place + 1 :]))
    clips = [clip(0.0, 1.0), clip(15.0, 15.9)]
    assert expect_the_cpus(opened(probe("a.ts")), clips, NEEDS[1:2], Counting()) == ["damaged"]


def test_a_picture_that_is_not_in_the_run_is_missed() -> None:
    run = EncodedPictures(data=np.zeros(0, np.uint8), num_pictures=1, numbers=(0,), forms=(NEEDS[0],))
    with pytest.raises(ValueError, match="were asked for"):
        unflatten(run, np.zeros(5, np.uint8))
    pixels = [np.arange(48 * 32 * 3).astype(np.uint8).reshape(1, 32, 48, 3)]
    np.testing.assert_array_equal(unflatten(run, flatten(pixels))[0], pixels[0])
