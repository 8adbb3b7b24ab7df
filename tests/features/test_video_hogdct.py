from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.features.hog import describe_gradients
from mmpipe.features.lowfreq import low_frequencies
from mmpipe.features.registry import make_extractor
from mmpipe.types import VideoClip, VideoNeeds

HOG, DCT, CHANGE = slice(0, 432), slice(432, 496), slice(496, 640)
SLOPE, MOTION = slice(640, 784), slice(784, 848)


def film(num_frames: int, height: int = 96, width: int = 120, seed: int = 0) -> VideoClip:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, height, width), dtype=np.uint8)
    return VideoClip(frames=frames, times_ns=np.arange(num_frames, dtype=np.int64) * 40_000_000 + 7)


@given(
    num_frames=st.integers(1, 9),
    width=st.integers(32, 90),
    height=st.integers(32, 90),
    cells=st.tuples(st.integers(2, 16), st.integers(2, 16)),
)
@settings(max_examples=30, deadline=None)
def test_any_size_gives_a_finite_row_per_frame(
    num_frames: int, width: int, height: int, cells: tuple[int, int]
) -> None:
    settings_of_it = {"width_px": width, "height_px": height, "cells_x": cells[0], "cells_y": cells[1]}
    extractor = make_extractor("video-hogdct", settings_of_it)
    clip = film(num_frames, height, width)
    (value,) = extractor.extract([clip])
    assert value.array.shape == (num_frames, extractor.schema.dim)
    assert value.array.dtype == np.float32
    assert np.isfinite(value.array).all()
    assert value.times_ns is not None
    assert np.array_equal(value.times_ns, clip.times_ns)


def test_the_parts_are_what_they_are_called() -> None:
    clip = film(70)  # more than two chunks
    (value,) = make_extractor("video-hogdct").extract([clip])
    dct = low_frequencies(clip.frames, 12)
    flat = dct.reshape(70, -1)
    assert value.array.shape == (70, 848)
    assert np.array_equal(value.array[:, HOG], describe_gradients(clip.frames, 6, 8))
    assert np.array_equal(value.array[:, DCT], dct[:, :8, :8].reshape(70, -1).astype(np.float32))
    assert np.allclose(value.array[1:, CHANGE], flat[1:] - flat[:-1], atol=1e-7)
    slope = (2 * (flat[4:] - flat[:-4]) + flat[3:-1] - flat[1:-3]) / 10
    assert np.allclose(value.array[2:-2, SLOPE], slope, atol=1e-7)
    difference = np.abs(np.diff(clip.frames.astype(float), axis=0)) / 255
    energy = difference.reshape(69, 8, 12, 8, 15).mean(axis=(2, 4)).reshape(69, 64)
    assert np.allclose(value.array[1:, MOTION], energy, atol=1e-6)


def test_the_first_frame_has_not_moved() -> None:
    (value,) = make_extractor("video-hogdct").extract([film(3)])
    assert not value.array[0, CHANGE].any()
    assert not value.array[0, MOTION].any()
    assert value.array[1, MOTION].all()


def test_motion_shows_where_it_is() -> None:
    frames = np.full((2, 96, 120), 100, np.uint8)
    frames[1, 84:96, 105:120] = 200  # the last of the 8 x 8 cells
    (value,) = make_extractor("video-hogdct").extract([VideoClip(frames=frames, times_ns=np.array([0, 1]))])
    motion = value.array[1, MOTION]
    assert motion[63] == pytest.approx(100 / 255)
    assert not motion[:63].any()


@pytest.mark.parametrize("level", [0, 255])
def test_a_still_film_of_one_colour_is_finite_and_without_change(level: int) -> None:
    frames = np.full((5, 96, 120), level, np.uint8)
    (value,) = make_extractor("video-hogdct").extract([VideoClip(frames=frames, times_ns=np.arange(5))])
    assert np.isfinite(value.array).all()
    assert not value.array[:, CHANGE.start :].any()
    assert not value.array[:, HOG].any()


def test_a_clip_does_not_feel_the_batch() -> None:
    extractor = make_extractor("video-hogdct")
    clips = [film(length, seed=seed) for seed, length in enumerate((1, 40, 7))]
    for clip, value in zip(clips, extractor.extract(clips), strict=True):
        assert np.array_equal(extractor.extract([clip])[0].array, value.array)


def test_frames_are_read_only_and_need_not_lie_together() -> None:
    clip = film(8)
    spread = np.zeros((8, 192, 120), np.uint8)
    spread[:, ::2] = clip.frames
    view = spread[:, ::2]
    view.flags.writeable = False
    extractor = make_extractor("video-hogdct")
    (expected,) = extractor.extract([clip])
    (value,) = extractor.extract([VideoClip(frames=view, times_ns=clip.times_ns)])
    assert np.array_equal(value.array, expected.array)


def test_it_asks_for_gray_frames_and_says_so_when_it_gets_something_else() -> None:
    extractor = make_extractor("video-hogdct", {"frame_rate": 12.5})
    assert extractor.needs == VideoNeeds(width_px=120, height_px=96, gray=True, frame_rate=12.5)
    with pytest.raises(ValueError, match=r"\(96, 120\)"):
        extractor.extract([film(2, 48, 60)])
