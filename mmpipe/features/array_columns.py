"""The columns of an array, brought to the number that a feature has: filled up with missing ones, or folded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from mmpipe.config import Flag, Table
from mmpipe.errors import SampleError
from mmpipe.types import ArrayClip


class ArrayColumnsParams(Table):
    """How many columns a feature of arrays has; it is the same for all files of a corpus."""

    columns: int = Field(
        16, ge=1, le=4096, description="columns of the feature; an array that has fewer is filled up as missing"
    )
    fold: Flag = Field(
        False, description="average an array that has more columns down to so many; false: it is refused"
    )


def iterate_columns(clip: ArrayClip, params: ArrayColumnsParams, feature: str) -> Iterator[np.ndarray]:
    """Yield exactly `columns` columns as float64 [T], NaN where a number is missing.

    Raise SampleError too_many_columns where there are more and none may be folded.
    """
    values_TD = clip.values_TD
    present = values_TD.shape[1]
    if present > params.columns and not params.fold:
        raise SampleError(
            "too_many_columns",
            f"the array has {present} columns, {feature} takes {params.columns}. Set features.{feature}.columns = "
            f"{present} (or fold = true), or choose fewer by arrays.columns of the corpus",
        )
    edges = [column * present // params.columns for column in range(params.columns + 1)]
    for column in range(params.columns):
        if present > params.columns:
            yield _mean_of_present(values_TD[:, edges[column] : edges[column + 1]])
        elif column < present:
            yield values_TD[:, column].astype(np.float64)
        else:
            yield np.full(len(values_TD), np.nan)


def _mean_of_present(values_TD: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values_TD)
    sums, counts = np.where(known, values_TD, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
