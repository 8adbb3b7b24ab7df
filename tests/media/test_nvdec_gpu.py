"""On a real GPU with torchcodec: NVDEC's pictures beside PyAV's, and how a stream that it cannot decode is told."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.engine.device.find import find_gpus
from mmpipe.errors import SampleError
from mmpipe.media.decode import decode_clips
from mmpipe.media.nvdec import TorchcodecMaker, examine_nvdec
from mmpipe.media.picture_maker import PyAvMaker
from mmpipe.media.remux import remux
from mmpipe.types import COVER, EncodedPictures, VideoNeeds
from tests.media.test_sparse import FFMPEG, X264

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("torchcodec") is None or not find_gpus(), reason="no GPU, or no torchcodec"),
]
FORMS = (
    VideoNeeds(width_px=224, height_px=224),
    VideoNeeds(width_px=224, height_px=224, fit=COVER),
    VideoNeeds(width_px=64, height_px=48, gray=True),
)
# Of 256: chroma is interpolated, and yuv becomes RGB, in other ways. Which pictures they are shows in far more: the
# test film's neighbours differ by about 10.
MOST_APART = 4.0


@pytest.fixture(autouse=True)
def usable() -> None:
    _, problem = examine_nvdec()
    assert not problem, problem


def write_film(path: Path, *options: str, size: str = "640x360") -> None:
    source = f"testsrc2=s={size}:r=25:d=4"
    subprocess.run([FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)], check=True)


def read_run(path: Path, numbers: tuple[int, ...]) -> EncodedPictures:
    with av.open(str(path)) as container:
        track = container.streams.video[0]
        packets = [packet for packet in container.demux(track) if packet.size]
        data = remux(packets, track)
    return EncodedPictures(data=data, num_pictures=len(packets), numbers=numbers, forms=FORMS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", (*X264, "-pix_fmt", "yuv420p", "-g", "50", "-bf", "3")),
        ("hevc.mp4", ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "keyint=50:log-level=none")),
        ("vp9.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-deadline", "realtime", "-g", "50")),
    ],
)
def test_pictures_are_near_the_cpus(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    write_film(tmp_path / name, *options)
    run = read_run(tmp_path / name, tuple(range(0, 100, 7)))
    maker = TorchcodecMaker("cuda:0")
    first, again = maker.make(run), maker.make(run)
    for ours, same, theirs in zip(first, again, PyAvMaker().make(run), strict=True):
        np.testing.assert_array_equal(ours, same)
        assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < MOST_APART


def test_what_it_has_no_silicon_for_is_told(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", *X264, "-pix_fmt", "yuv422p10le")  # of h264 no GPU before 2025 decodes 4:2:2
    try:
        TorchcodecMaker("cuda:0").make(read_run(tmp_path / "a.mp4", (0,)))
    except SampleError as error:
        assert error.code == "nvdec_unsupported"


def test_clips_have_the_cpus_times(tmp_path: Path, probe: Any, opened: Any, clip: Any) -> None:
    write_film(tmp_path / "a.mp4", *X264, "-pix_fmt", "yuv420p", "-g", "25", "-bf", "2")
    sources, reasons = opened(probe("a.mp4")), list[str]()
    here, there = (VideoNeeds(width_px=96, height_px=96, num_frames=5, decoder=name) for name in ("cpu", "nvdec"))
    clips = [clip(0.0, 4.0), clip(1.3, 2.1), clip(3.0, 3.05)]
    for one in decode_clips(
        sources, clips, [here, there], (), LimitsConfig(), maker=TorchcodecMaker("cuda:0"),
        note_fallback=lambda _stream, reason: reasons.append(reason),
    ):  # fmt: skip
        ours, theirs = one.media[there], one.media[here]
        np.testing.assert_array_equal(ours.times_ns, theirs.times_ns)  # type: ignore[union-attr]
        apart = np.abs(ours.frames.astype(int) - theirs.frames.astype(int))  # type: ignore[union-attr]
        assert apart.mean() < MOST_APART
    assert not reasons
