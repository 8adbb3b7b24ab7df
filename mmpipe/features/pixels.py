"""`image-pixels` and `video-pixels`: the pictures themselves, small and of one size, for networks that learn from them.

Stored as bytes: a quarter of what float32 would take. Axes: T frames, H height, W width, C colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mmpipe.config import Flag, Table
from mmpipe.features.extractor import expect_media, expect_picture
from mmpipe.features.frame_choice import FrameChoice
from mmpipe.types import (
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    Fit,
    ImageClip,
    ImageNeeds,
    Modality,
    VideoClip,
)


class ImagePixelsParams(Table):
    """How large the stored pictures are."""

    width_px: int = Field(64, ge=8, le=512, description="pictures are scaled to this width")
    height_px: int = Field(64, ge=8, le=512, description="pictures are scaled to this height")
    gray: Flag = Field(False, description="one number per pixel instead of red, green and blue")
    # Left out where they are not asked for, so that the fingerprints of values from before there were these stand.
    fit: Literal["stretch", "cover"] = Field(
        "stretch",
        exclude_if=lambda value: value == "stretch",
        description="stretch: all of the picture, squeezed; cover: its middle, in shape",
    )
    shortest_edge_px: int | None = Field(
        None,
        ge=8,
        le=1024,
        exclude_if=lambda value: value is None,
        description="with cover: the shorter side before the middle is cut out; none: no more is cut than needed",
    )

    @model_validator(mode="after")
    def _the_middle_is_as_large_as_the_picture(self) -> Self:
        if self.shortest_edge_px is not None and self.fit != "cover":
            raise ValueError('shortest_edge_px is for fit = "cover"')
        if self.shortest_edge_px is not None and self.shortest_edge_px < max(self.width_px, self.height_px):
            raise ValueError("shortest_edge_px must be at least width_px and height_px: the middle is cut out of it")
        return self

    @property
    def fitted(self) -> Fit:
        """Return how pictures come to the size."""
        box_px = (self.shortest_edge_px, self.shortest_edge_px) if self.shortest_edge_px else None
        return Fit(keeps_shape=self.fit == "cover", box_px=box_px)

    @property
    def dim(self) -> int:
        """Return how many numbers a picture has."""
        return self.width_px * self.height_px * (1 if self.gray else 3)

    @property
    def shape(self) -> str:
        """Return how a row is to be read again."""
        return f"{self.height_px} x {self.width_px}" + ("" if self.gray else " x 3, red, green and blue last")


class VideoPixelsParams(FrameChoice, ImagePixelsParams):
    """How large the stored frames are, and which."""


class ImagePixels:
    """A still as a vector [H * W * C] of bytes."""

    name = "image-pixels"
    version = 1
    modality = Modality.IMAGE
    weights_sha256 = ""
    Params = ImagePixelsParams

    def __init__(self, params: ImagePixelsParams) -> None:
        self.params = params
        self.needs = ImageNeeds(
            width_px=params.width_px, height_px=params.height_px, fit=params.fitted, gray=params.gray
        )
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=params.dim,
            dtype="uint8",
            description=f"the still as bytes, {params.shape}",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector per still."""
        stills = [expect_media(media, ImageClip, self.name).image for media in batch]
        return [FeatureValue(array=expect_picture(still, self.needs, self.name).reshape(-1)) for still in stills]


class VideoPixels:
    """A row [H * W * C] of bytes per frame."""

    name = "video-pixels"
    version = 1
    modality = Modality.VIDEO
    weights_sha256 = ""
    Params = VideoPixelsParams

    def __init__(self, params: VideoPixelsParams) -> None:
        self.params = params
        self.needs = params.needs(params.width_px, params.height_px, gray=params.gray, fit=params.fitted)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.dim,
            dtype="uint8",
            description=f"each frame as bytes, {params.shape}",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a row per frame for each clip."""
        return [self._flatten(expect_media(media, VideoClip, self.name)) for media in batch]

    def _flatten(self, clip: VideoClip) -> FeatureValue:
        frames = expect_picture(clip.frames, self.needs, self.name)
        return FeatureValue(array=np.ascontiguousarray(frames).reshape(len(frames), -1), times_ns=clip.times_ns)
