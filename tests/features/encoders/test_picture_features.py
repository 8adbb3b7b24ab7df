"""What all encoders of pictures share, with a network that is none: it tells the mean colour, in little memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.backbone import Backbone
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.params import ComputeParams
from mmpipe.features.encoders.picture_features import FrameParams, ImageEncoder, VideoEncoder
from mmpipe.features.encoders.pictures import PictureInput
from mmpipe.features.extractor import MicroBatch, micro_batch_of, units_of, uses_device
from mmpipe.types import ImageClip, VideoClip

PLAIN = PictureInput(width_px=4, height_px=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1.0)


class Colours:
    """A device with room for so many pictures; it notes how many came at once."""

    def __init__(self, room: int, dim: int = 3) -> None:
        self.room = room
        self.dim = dim
        self.sizes: list[int] = []

    def load(self, device: TorchDevice) -> Callable[[Any], Any]:
        return self.tell

    def tell(self, pixels_BCHW: Any) -> Any:
        import torch

        if len(pixels_BCHW) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.sizes.append(len(pixels_BCHW))
        return pixels_BCHW.mean((2, 3))

    def backbone(self) -> Backbone:
        return Backbone(about="colours", sha256="ab", dim=self.dim, tokens=False, picture=PLAIN, load=self.load)


class Params(FrameParams, ComputeParams):
    """All that there is to say."""


class Stills(ImageEncoder):
    name = "image-colours"


class Films(VideoEncoder):
    name = "video-colours"


def pictures(num: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, 3, 4, 3), np.uint8)


@pytest.mark.parametrize("room", [1, 3, 5, 100])
def test_values_are_whole_and_in_order_however_little_memory_there_is(room: int) -> None:
    device, images = Colours(room), pictures(40)
    extractor = Stills(ComputeParams(dtype="float32", batch=16), device.backbone())
    extractor.setup("cpu")
    device.sizes.clear()
    found = extractor.extract([ImageClip(image=image) for image in images])
    np.testing.assert_allclose([value.array for value in found], images.mean((1, 2)), rtol=1e-5)
    assert max(device.sizes) <= min(room, 16) and sum(device.sizes) == 40
    assert units_of(extractor) == (40, 0)


def test_one_picture_that_does_not_fit_is_for_the_engine() -> None:
    device = Colours(1)
    extractor = Stills(ComputeParams(dtype="float32"), device.backbone())
    extractor.setup("cpu")
    device.room = 0
    with pytest.raises(MemoryError, match="one item alone"):
        extractor.extract([ImageClip(image=pictures(1)[0])])


def test_frames_of_many_clips_share_a_batch() -> None:
    device, frames = Colours(100), pictures(21)
    extractor = Films(Params(dtype="float32", batch=8), device.backbone())
    extractor.setup("cpu")
    device.sizes.clear()
    clips = [VideoClip(frames=frames[at : at + 3], times_ns=np.arange(3) + at) for at in range(0, 21, 3)]
    for clip, value in zip(clips, extractor.extract(clips), strict=True):
        np.testing.assert_allclose(value.array, clip.frames.mean((1, 2)), rtol=1e-5)
        np.testing.assert_array_equal(value.times_ns, clip.times_ns)
    assert device.sizes == [8, 8, 5]
    assert uses_device(extractor) and micro_batch_of(extractor) != MicroBatch()


def test_a_network_that_does_not_do_as_its_config_says_is_named() -> None:
    extractor = Stills(ComputeParams(dtype="float32"), Colours(9, dim=7).backbone())
    with pytest.raises(ConfigError, match=r"image-colours: colours gives \[3\]"):
        extractor.setup("cpu")


def test_a_second_setup_loads_nothing() -> None:
    device = Colours(9)
    loads: list[TorchDevice] = []
    backbone = Backbone(
        about="colours",
        sha256="ab",
        dim=3,
        tokens=False,
        picture=PLAIN,
        load=lambda where: loads.append(where) or device.tell,  # type: ignore[func-returns-value]
    )
    extractor = Stills(ComputeParams(dtype="float32"), backbone)
    extractor.setup("cpu")
    extractor.setup("cpu")
    assert [where.name for where in loads] == ["cpu"]
    assert extractor.extract([]) == []


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_tells_the_same(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    frames = pictures(40)
    extractor = Films(Params(dtype=dtype, batch=16), Colours(16).backbone())
    extractor.setup("cuda")
    clips = [VideoClip(frames=frames[at : at + 4], times_ns=np.arange(4)) for at in range(0, 40, 4)]
    straight, staged = extractor.extract(clips), extractor.extract_staged(extractor.stage(clips))
    for clip, one, other in zip(clips, straight, staged, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_allclose(one.array, clip.frames.mean((1, 2)), rtol=1e-5 if dtype == "float32" else 2e-2)
