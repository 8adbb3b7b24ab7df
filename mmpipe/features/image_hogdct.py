"""`image-hogdct`: one vector per still from its edges, its light and dark, and its intensities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mmpipe.config import Table
from mmpipe.features.extractor import expect_media, expect_pixels
from mmpipe.features.hog import NUM_ORIENTATIONS, describe_gradients
from mmpipe.features.lowfreq import low_frequencies
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, ImageClip, ImageNeeds, Modality

_PERCENTILES = (5, 25, 50, 75, 95)
_NUM_STATISTICS = 3 + len(_PERCENTILES)


class ImageHogDctParams(Table):
    """How finely a still is described."""

    size_px: int = Field(56, ge=16, le=512, description="the still is scaled to a square of this side")
    cells: int = Field(7, ge=2, le=8, description="cells along each side for the histograms of gradients")
    frequencies: int = Field(8, ge=1, le=16, description="cosine frequencies kept along each side")


class ImageHogDct:
    """HOG [cells^2 * 9], DCT-II [frequencies^2], mean, deviation, gradient and five percentiles of the intensity."""

    name = "image-hogdct"
    version = 1
    modality = Modality.IMAGE
    weights_sha256 = ""
    Params = ImageHogDctParams

    def __init__(self, params: ImageHogDctParams) -> None:
        self.params = params
        self.needs = ImageNeeds(width_px=params.size_px, height_px=params.size_px, gray=True)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=params.cells**2 * NUM_ORIENTATIONS + params.frequencies**2 + _NUM_STATISTICS,
            description="histograms of oriented gradients, low cosine frequencies, statistics of the intensity",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector per still."""
        return [self._describe(expect_media(media, ImageClip, self.name)) for media in batch]

    def _describe(self, clip: ImageClip) -> FeatureValue:
        image_NHW = expect_pixels(clip.image[None], self.needs, self.name)
        hog = describe_gradients(image_NHW, self.params.cells, self.params.cells)
        dct = low_frequencies(image_NHW, self.params.frequencies)
        return FeatureValue(array=np.concatenate([hog.ravel(), dct.ravel(), _statistics(clip.image)], dtype=np.float32))


def _statistics(image_HW: np.ndarray) -> np.ndarray:
    """Return mean, deviation, mean gradient and percentiles of the intensity in [0, 1]."""
    intensity = image_HW.astype(np.float64) / 255
    gradient = np.abs(np.diff(intensity, axis=0)).mean() + np.abs(np.diff(intensity, axis=1)).mean()
    return np.array([intensity.mean(), intensity.std(), gradient, *np.percentile(intensity, _PERCENTILES)])
