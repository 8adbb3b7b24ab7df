"""`array-stats`: what each column of numbers comes to over a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmpipe.features.array_columns import ArrayColumnsParams, iterate_columns
from mmpipe.features.extractor import expect_media
from mmpipe.types import (
    NANOSECONDS_PER_SECOND,
    ArrayClip,
    ArrayNeeds,
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    Modality,
)

STATISTICS = ("mean", "std", "min", "q25", "median", "q75", "max", "slope", "missing")
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class ArrayStatsParams(ArrayColumnsParams):
    """How many columns are described."""


class ArrayStats:
    """Per column mean, deviation, least, quartiles, most, slope per second, share missing; zeros where all is missing.

    The value is [columns x 9], column after column.
    """

    name = "array-stats"
    version = 1
    modality = Modality.ARRAY
    weights_sha256 = ""
    Params = ArrayStatsParams

    def __init__(self, params: ArrayStatsParams) -> None:
        self.params = params
        self.needs = ArrayNeeds()
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=params.columns * len(STATISTICS),
            description=f"per column: {', '.join(STATISTICS)}",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector per clip."""
        return [self._describe(expect_media(media, ArrayClip, self.name)) for media in batch]

    def _describe(self, clip: ArrayClip) -> FeatureValue:
        seconds = (clip.times_ns - clip.times_ns[0]) / NANOSECONDS_PER_SECOND
        rows = [_describe_column(column, seconds) for column in iterate_columns(clip, self.params, self.name)]
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused by who writes it
            return FeatureValue(array=np.concatenate(rows).astype(np.float32))


def _describe_column(column_T: np.ndarray, seconds_T: np.ndarray) -> np.ndarray:
    known = ~np.isnan(column_T)
    missing = 1 - np.count_nonzero(known) / len(column_T)
    if missing == 1:
        return np.array([0.0] * (len(STATISTICS) - 1) + [1.0])
    values, seconds = column_T[known], seconds_T[known]
    mean = values.mean()
    least, low, middle, high, most = np.quantile(values, _QUANTILES)
    return np.array([mean, values.std(), least, low, middle, high, most, _slope(values - mean, seconds), missing])


def _slope(centred_N: np.ndarray, seconds_N: np.ndarray) -> float:
    """Return the slope of the line of least squares, 0 where all is at one time."""
    around = seconds_N - seconds_N.mean()
    spread = float(np.square(around).sum())
    return float((around * centred_N).sum()) / spread if spread else 0.0
