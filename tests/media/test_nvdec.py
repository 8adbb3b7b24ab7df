"""torchcodec's calls as they are made, with a double that has their shape and real pictures, by PyAV."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch

from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.nvdec import TorchcodecMaker, examine_nvdec, scale
from mmpipe.media.picture_maker import PyAvMaker
from mmpipe.media.remux import remux
from mmpipe.types import COVER, EncodedPictures, Fit, VideoNeeds

FORMS = (
    VideoNeeds(width_px=32, height_px=24),
    VideoNeeds(width_px=32, height_px=24, gray=True),
    VideoNeeds(width_px=20, height_px=20, fit=COVER),
    VideoNeeds(width_px=20, height_px=30, fit=Fit(keeps_shape=True, box_px=(26, 26))),
)


class Fallback(str):
    """torchcodec's status: true where the CPU decoded, and a text."""

    def __bool__(self) -> bool:
        return "Falling back" in self


@dataclass
class Decoders:
    """What is used of `torchcodec.decoders`."""

    fallback: str = "[CUDA] Fallback status: No fallback required"
    late_s: float = 0.0
    missing: int = 0
    most: int = 1000  # pictures that fit into memory at once
    full: str = "CUDA out of memory. Tried to allocate 2.00 GiB"
    capacity: int = -1
    asked: list[list[int]] = field(default_factory=list)

    def set_nvdec_cache_capacity(self, capacity: int) -> None:
        self.capacity = capacity

    def VideoDecoder(
        self, source: bytes, *, dimension_order: str, num_ffmpeg_threads: int, device: str, seek_mode: str
    ) -> Decoder:
        assert (dimension_order, seek_mode, num_ffmpeg_threads) == ("NCHW", "exact", 1) and device
        return Decoder(self, source)


class Decoder:
    """A decode of everything, its pictures in the order of time."""

    def __init__(self, said: Decoders, source: bytes) -> None:
        self.said = said
        self.cpu_fallback = Fallback(said.fallback)
        with av.open(io.BytesIO(source), "r") as container:
            self.frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        height, width, _ = self.frames[0][1].shape
        self.metadata = SimpleNamespace(height=height, width=width)

    def __len__(self) -> int:
        return len(self.frames) - self.said.missing

    def get_frames_at(self, indices: list[int]) -> Any:
        if len(indices) > self.said.most:
            raise RuntimeError(self.said.full)
        self.said.asked.append(indices)
        data = torch.from_numpy(np.stack([self.frames[index][1] for index in indices])).permute(0, 3, 1, 2)
        times = [self.frames[index][0] + self.said.late_s for index in indices]
        return SimpleNamespace(data=data, pts_seconds=torch.tensor(times, dtype=torch.float64))


@pytest.fixture
def run(film: Callable[..., Path]) -> EncodedPictures:
    with av.open(str(film("a.mp4", 24, key_every=30))) as container:
        track = container.streams.video[0]
        packets = [packet for packet in container.demux(track) if packet.size]
        return EncodedPictures(
            data=remux(packets, track), num_pictures=24, numbers=(0, 1, 5, 6, 7, 13, 23), forms=FORMS
        )


@pytest.mark.parametrize("most", [1000, 3, 1])
def test_pictures_are_those_of_the_cpu_but_for_the_scaler(most: int, run: EncodedPictures) -> None:
    """Also where memory suffices for few at once: then the batch is halved until it does."""
    decoders = Decoders(most=most)
    for ours, theirs in zip(TorchcodecMaker("cuda:0", decoders).make(run), PyAvMaker().make(run), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == np.uint8
        assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 6
    assert [number for asked in decoders.asked for number in asked] == list(run.numbers)
    assert max(map(len, decoders.asked)) <= most and decoders.capacity >= 0


def test_a_picture_that_does_not_fit_alone_is_a_matter_of_memory(run: EncodedPictures) -> None:
    for full in ("CUDA out of memory", "Failed to create NVDEC decoder: 2"):
        with pytest.raises(MemoryError, match="does not fit"):
            TorchcodecMaker("cuda:0", Decoders(most=0, full=full)).make(run)
    with pytest.raises(RuntimeError, match="NVDEC decoder: 801"):  # not supported
        TorchcodecMaker("cuda:0", Decoders(most=0, full="Failed to create NVDEC decoder: 801")).make(run)


@pytest.mark.parametrize(
    ("decoders", "match"),
    [
        (Decoders(late_s=0.04), "other pictures"),
        (Decoders(missing=1), "23 pictures in 24 packets"),
        (Decoders(fallback="[CUDA] Fallback status: Falling back due to: Video not supported"), "not supported"),
    ],
)
def test_what_the_gpu_cannot_is_told(decoders: Decoders, match: str, run: EncodedPictures) -> None:
    with pytest.raises(SampleError, match=match) as caught:
        TorchcodecMaker("cuda:0", decoders).make(run)
    assert caught.value.code == "nvdec_unsupported"


def test_a_driver_without_its_decoder_is_a_matter_of_the_machine(run: EncodedPictures) -> None:
    said = "[CUDA] Fallback status: Falling back due to: NVcuvid unavailable"
    with pytest.raises(ConfigError, match="NVIDIA_DRIVER_CAPABILITIES"):
        TorchcodecMaker("cuda:0", Decoders(fallback=said)).make(run)


def test_scaling_does_not_alias_and_keeps_the_middle() -> None:
    stripes = torch.zeros((1, 3, 64, 64), dtype=torch.uint8)
    stripes[..., ::2] = 200
    small = scale(stripes, VideoNeeds(width_px=8, height_px=8))
    assert small.shape == (1, 8, 8, 3) and np.abs(small.astype(int) - 100).max() <= 5
    wide = torch.zeros((1, 3, 10, 40), dtype=torch.uint8)
    wide[..., 15:25] = 250
    assert scale(wide, VideoNeeds(width_px=10, height_px=10, fit=COVER)).min() == 250


def test_a_machine_says_what_it_lacks(run: EncodedPictures) -> None:
    version, problem = examine_nvdec()
    if not version:
        assert "mmpipe[nvdec]" in problem
        with pytest.raises(ConfigError, match="torchcodec cannot be loaded"):
            TorchcodecMaker("cpu")
    elif not problem:
        made = TorchcodecMaker("cpu").make(replace(run, numbers=(0, 1)))
        assert [part.shape[0] for part in made] == [2] * len(FORMS)
