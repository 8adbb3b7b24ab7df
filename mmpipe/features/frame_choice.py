"""Which frames of a clip an extractor sees: parameters that several of them share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mmpipe.config import USUAL, Flag, Table
from mmpipe.types import STRETCH, Decoder, Fit, VideoNeeds

USUAL_FRAMES = 8


class FrameChoice(Table):
    """Frames by rate, by number, or those that stand for themselves; eight, evenly spread, where nothing is said."""

    frame_rate: float | None = Field(None, gt=0, le=240, description="frames per second")
    num_frames: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="so many frames, evenly spread; of a model that reads clips of frames, as many as it reads",
        json_schema_extra={USUAL: USUAL_FRAMES},  # where nothing else is chosen
    )
    only_keyframes: Flag = Field(False, description="only frames that stand for themselves: cheap to decode")
    # Left out where it is the CPU, so that the fingerprints of values from before there was a choice stand.
    decoder: Decoder = Field(
        "cpu",
        exclude_if=lambda value: value == "cpu",
        description="cpu; or nvdec: a GPU's own decoder, whose pixels are near and not equal, so another feature",
    )

    @model_validator(mode="after")
    def _frames_are_chosen_in_one_way(self) -> Self:
        if (self.frame_rate is not None) + (self.num_frames is not None) + self.only_keyframes > 1:
            raise ValueError("choose frames by frame_rate, num_frames or only_keyframes, one of them")
        return self

    def needs(
        self, width_px: int, height_px: int, *, usual: int = USUAL_FRAMES, gray: bool = False, fit: Fit = STRETCH
    ) -> VideoNeeds:
        """Return the frames at a size; `usual` is how many where nothing was chosen."""
        chosen = self.frame_rate is not None or self.num_frames is not None or self.only_keyframes
        return VideoNeeds(
            width_px=width_px,
            height_px=height_px,
            gray=gray,
            fit=fit,
            frame_rate=self.frame_rate,
            num_frames=self.num_frames if chosen else usual,
            only_keyframes=self.only_keyframes,
            decoder=self.decoder,
        )
