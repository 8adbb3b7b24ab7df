"""`array-raw`: the numbers themselves as a sequence, averaged to a rate and to no more than so many rows.

Axes: T rows of the clip, R rows that come out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

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


class ArrayRawParams(ArrayColumnsParams):
    """How many rows and columns a clip has."""

    max_rows: int = Field(256, ge=1, le=65_536, description="a clip that has more is averaged over even runs of rows")
    rate_hz: float | None = Field(
        None, gt=0, le=1e6, description="average over spans of this rate first; none: rows as they are"
    )


class ArrayRaw:
    """Rows [R, columns + 1]: the numbers, a missing one as its column's mean in the clip; last the share missing."""

    name = "array-raw"
    version = 1
    modality = Modality.ARRAY
    weights_sha256 = ""
    Params = ArrayRawParams

    def __init__(self, params: ArrayRawParams) -> None:
        self.params = params
        self.needs = ArrayNeeds()
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.columns + 1,
            description="numbers over time, missing ones at their column's mean; the last column is the share missing",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a sequence per clip."""
        return [self._describe(expect_media(media, ArrayClip, self.name)) for media in batch]

    def _describe(self, clip: ArrayClip) -> FeatureValue:
        starts_R = _starts(clip.times_ns, self.params)
        sizes_R = np.diff(starts_R, append=len(clip.times_ns))
        columns = [_average(column, starts_R) for column in iterate_columns(clip, self.params, self.name)]
        missing_T = np.isnan(clip.values_TD).mean(axis=1)
        rows_RD = np.stack([*columns, np.add.reduceat(missing_T, starts_R) / sizes_R], axis=1)
        since_ns = np.add.reduceat((clip.times_ns - clip.times_ns[0]).astype(np.float64), starts_R) / sizes_R
        times_ns = clip.times_ns[0] + since_ns.astype(np.int64)
        return FeatureValue(array=rows_RD.astype(np.float32), times_ns=times_ns)


def _starts(times_ns: np.ndarray, params: ArrayRawParams) -> np.ndarray:
    """Return the first row of each run that becomes one row."""
    starts = np.arange(len(times_ns))
    if params.rate_hz:
        # Spans lie on the asset's clock, so that they do not depend on how it was cut.
        # A millionth of a span is forgiven: 0.29 s at 100 Hz is the 29th, whatever floating point makes of it.
        spans = np.floor(times_ns * params.rate_hz / NANOSECONDS_PER_SECOND + 1e-6)
        starts = np.flatnonzero(np.diff(spans, prepend=-1))
    if len(starts) > params.max_rows:
        starts = starts[np.arange(params.max_rows) * len(starts) // params.max_rows]
    return starts


def _average(column_T: np.ndarray, starts_R: np.ndarray) -> np.ndarray:
    """Return the means of what is there in each run; the clip's mean where a run has nothing, 0 where the clip has."""
    known = ~np.isnan(column_T)
    values = np.where(known, column_T, 0.0)
    counts_R = np.add.reduceat(known.astype(np.int64), starts_R)
    mean = values.sum() / max(1, np.count_nonzero(known))
    return np.where(counts_R > 0, np.add.reduceat(values, starts_R) / np.maximum(counts_R, 1), mean)
