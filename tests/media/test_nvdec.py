"""What is left to a GPU's decoder, and what happens when it errs: with a double that has torchcodec's shape."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import av
import numpy as np
import pytest
import torch

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import decode_clips
from mmpipe.media.nvdec import CannotUseGpu, TorchcodecSource, pick_on_gpu, read_pictures, why_not_on_gpu
from mmpipe.types import COVER, Fit, Modality, VideoClip, VideoNeeds

GRAY: dict[str, Any] = {"width_px": 32, "height_px": 24, "gray": True}
NEEDS = [
    VideoNeeds(**GRAY),
    VideoNeeds(**GRAY, num_frames=7),
    VideoNeeds(width_px=16, height_px=16, frame_rate=3.0),
    VideoNeeds(**GRAY, only_keyframes=True),
    VideoNeeds(width_px=20, height_px=20, num_frames=3, fit=COVER),
    VideoNeeds(width_px=20, height_px=30, num_frames=3, fit=Fit(keeps_shape=True, box_px=(26, 26))),
]
SPANS = [(0.0, 2.0), (0.33, 1.71), (1.0, 1.1), (0.5, 0.51)]


@dataclass
class Decoder:
    """torchcodec's VideoDecoder, as far as it is used, over a decode of everything."""

    file: BinaryIO
    stream_index: int
    dimension_order: str
    device: str
    seek_mode: str
    late_s: float = 0.0

    def __post_init__(self) -> None:
        with av.open(self.file, "r") as container:
            self.frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        self.metadata = SimpleNamespace(begin_stream_seconds=self.frames[0][0])

    def get_frames_at(self, indices: list[int]) -> Any:
        chosen = [self.frames[index] for index in indices]
        data = torch.from_numpy(np.stack([pixels for _, pixels in chosen])).permute(0, 3, 1, 2)
        return SimpleNamespace(data=data, pts_seconds=torch.tensor([time + self.late_s for time, _ in chosen]))


@pytest.fixture
def sources(film: Any, probe: Any, opened: Any) -> Any:
    film("a.mp4", 50, key_every=12, first_frame=5)
    return opened(probe("a.mp4"))


def source_of(sources: Any, tmp_path: Path, late_s: float = 0.0) -> TorchcodecSource:
    file = io.BytesIO((tmp_path / "a.mp4").read_bytes())
    stream = sources[Modality.VIDEO].stream
    return TorchcodecSource(file, stream, "cpu", partial(Decoder, late_s=late_s))


def test_clips_get_the_pictures_that_the_cpu_picks(sources: Any, clip: Any, tmp_path: Path) -> None:
    video = sources[Modality.VIDEO]
    clips = [clip(*span) for span in SPANS]
    expected = {one.clip.key: one.media for one in decode_clips(sources, clips, NEEDS, (), LimitsConfig())}
    pictures = read_pictures(video.descriptor, video.stream, LimitsConfig())
    found = dict(pick_on_gpu(pictures, list(enumerate(clips)), NEEDS, source_of(sources, tmp_path)))
    assert len(found) == len(clips)
    for index, by_need in found.items():
        for need in NEEDS:
            ours, theirs = by_need[need], expected[clips[index].key][need]
            assert isinstance(theirs, VideoClip)
            np.testing.assert_array_equal(ours.times_ns, theirs.times_ns)
            assert ours.frames.shape == theirs.frames.shape and ours.frames.dtype == np.uint8
            apart = np.abs(ours.frames.astype(int) - theirs.frames.astype(int))
            assert apart.mean() < 6  # another scaler, and another conversion of colours


@pytest.mark.parametrize("fault", ["late", "raises"])
def test_a_decoder_that_errs_leaves_the_track_to_the_cpu(fault: str, sources: Any, clip: Any, tmp_path: Path) -> None:
    video = sources[Modality.VIDEO]
    pictures = read_pictures(video.descriptor, video.stream, LimitsConfig())
    source = source_of(sources, tmp_path, late_s=0.04 if fault == "late" else 0.0)
    if fault == "raises":
        pictures = replace(pictures, times_ns=(*pictures.times_ns, 10**12), are_keys=(*pictures.are_keys, True))
    with pytest.raises(CannotUseGpu, match="other pictures" if fault == "late" else "IndexError"):
        list(pick_on_gpu(pictures, [(0, clip(0.0, 2000.0))], NEEDS[:1], source))


def test_a_file_that_it_cannot_open_is_left_to_the_cpu(sources: Any) -> None:
    with pytest.raises(CannotUseGpu, match=r"ModuleNotFoundError|ImportError|RuntimeError"):
        TorchcodecSource(io.BytesIO(b"no film"), sources[Modality.VIDEO].stream, "cpu")


def test_it_is_only_tried_where_that_is_wanted_and_can_be(sources: Any) -> None:
    stream = sources[Modality.VIDEO].stream
    assert why_not_on_gpu(stream, is_trusted=True, device="cpu") == "the device is cpu"
    assert "trusted" in why_not_on_gpu(stream, is_trusted=False, device="cuda:0")
    assert why_not_on_gpu(replace(stream, codec="mpeg4"), is_trusted=True, device="cuda") == "no GPU decodes mpeg4"
    assert why_not_on_gpu(stream, is_trusted=True, device="cuda") in (
        "", "torchcodec is not installed: pip install mmpipe[nvdec]"
    )  # fmt: skip
