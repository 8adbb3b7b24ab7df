"""`video-hogdct`: one row per frame from its edges, its light and dark, and how they change.

Axes: T frames, H height, W width, K frequencies per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from mmpipe.config import Flag, Table
from mmpipe.features import dsp
from mmpipe.features.extractor import expect_media, expect_pixels
from mmpipe.features.hog import NUM_ORIENTATIONS, cell_of_pixel, describe_gradients
from mmpipe.features.lowfreq import low_frequencies
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, VideoClip, VideoNeeds

_MOTION_CELLS = 8
_CHUNK_FRAMES = 32  # frames described at once: the work stays in the cache, and memory flat in the clip's length


class VideoHogDctParams(Table):
    """How finely a frame is described; the defaults were chosen on talking heads."""

    width_px: int = Field(120, ge=32, le=512, description="frames are scaled to this width")
    height_px: int = Field(96, ge=32, le=512, description="frames are scaled to this height")
    frame_rate: float | None = Field(None, gt=0, le=240, description="frames per second at most; none: every frame")
    # Left out where they are not asked for, so that the fingerprints of values from before there were these stand.
    num_frames: int | None = Field(
        None, ge=1, le=10_000, exclude_if=lambda value: value is None, description="so many frames, evenly spread"
    )
    only_keyframes: Flag = Field(
        False, exclude_if=lambda value: not value, description="only frames that stand for themselves: cheap to decode"
    )
    cells_x: int = Field(8, ge=2, le=16, description="cells across for the histograms of gradients")
    cells_y: int = Field(6, ge=2, le=16, description="cells down for the histograms of gradients")
    frequencies: int = Field(8, ge=1, le=16, description="cosine frequencies per side that describe a frame")
    change_frequencies: int = Field(12, ge=1, le=16, description="cosine frequencies per side that describe a change")

    @model_validator(mode="after")
    def _frames_are_chosen_in_one_way(self) -> Self:
        if (self.frame_rate is not None) + (self.num_frames is not None) + self.only_keyframes > 1:
            raise ValueError("choose frames by frame_rate, num_frames or only_keyframes, one of them")
        return self


class VideoHogDct:
    """Per frame: HOG, DCT-II, the DCT's difference to the frame before and its slope over five, motion energy."""

    name = "video-hogdct"
    version = 1
    modality = Modality.VIDEO
    weights_sha256 = ""
    Params = VideoHogDctParams

    def __init__(self, params: VideoHogDctParams) -> None:
        self.params = params
        self.needs = VideoNeeds(
            width_px=params.width_px,
            height_px=params.height_px,
            gray=True,
            frame_rate=params.frame_rate,
            num_frames=params.num_frames,
            only_keyframes=params.only_keyframes,
        )
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.cells_y * params.cells_x * NUM_ORIENTATIONS
            + params.frequencies**2
            + 2 * params.change_frequencies**2
            + _MOTION_CELLS**2,
            description="histograms of oriented gradients, low cosine frequencies, their change, motion energy",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return one row per frame for each clip; the first frame has no change and no motion."""
        return [self._describe(expect_media(media, VideoClip, self.name)) for media in batch]

    def _describe(self, clip: VideoClip) -> FeatureValue:
        params, frames_THW = self.params, expect_pixels(clip.frames, self.needs, self.name)
        chunks = [slice(start, start + _CHUNK_FRAMES) for start in range(0, len(frames_THW), _CHUNK_FRAMES)]
        most = max(params.frequencies, params.change_frequencies)
        dct_TKK = np.concatenate([low_frequencies(frames_THW[chunk], most) for chunk in chunks])
        parts = [
            np.concatenate([describe_gradients(frames_THW[chunk], params.cells_y, params.cells_x) for chunk in chunks]),
            _corner(dct_TKK, params.frequencies),
            *_changes(_corner(dct_TKK, params.change_frequencies)),
            np.concatenate([_motion_energy(frames_THW, chunk) for chunk in chunks]),
        ]
        return FeatureValue(array=np.concatenate(parts, axis=1, dtype=np.float32), times_ns=clip.times_ns)


def _corner(dct_TKK: np.ndarray, num_frequencies: int) -> np.ndarray:
    """Return the lowest frequencies of each frame, [T, num_frequencies^2]."""
    return dct_TKK[:, :num_frequencies, :num_frequencies].reshape(len(dct_TKK), -1)


def _changes(x_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference to the frame before and the slope over five frames.

    Changes keep their sign: for reading lips they say more than all else, since pose and background cancel.
    """
    return np.diff(x_TD, axis=0, prepend=x_TD[:1]), dsp.slopes(x_TD)


def _motion_energy(frames_THW: np.ndarray, chunk: slice) -> np.ndarray:
    """Return the mean absolute difference to the frame before on a grid of 8 x 8 cells, [T, 64] in [0, 1]."""
    before = frames_THW[max(chunk.start - 1, 0) : chunk.stop].astype(np.int16)
    # The very first frame of a clip is compared with itself.
    before = before if chunk.start else np.concatenate([before[:1], before])
    change_THW = np.abs(np.diff(before, axis=0)).astype(np.float64)
    rows, columns = (cell_of_pixel(length, _MOTION_CELLS) for length in change_THW.shape[1:])
    starts_y, starts_x = (np.searchsorted(cells, np.arange(_MOTION_CELLS)) for cells in (rows, columns))
    sums = np.add.reduceat(np.add.reduceat(change_THW, starts_y, axis=1), starts_x, axis=2)
    counts = np.outer(np.bincount(rows), np.bincount(columns))
    return (sums / (255 * counts)).reshape(len(sums), -1)
