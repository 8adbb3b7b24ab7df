"""Look at the values of some clips of a feature: evenly spread, from a few shards, the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

_MOST_SHARDS = 8  # however large a store is, a page opens no more of a feature


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Clips, and their values: of a sequence the mean over time."""

    clips: pl.DataFrame  # rows of the spine
    x_ND: np.ndarray


def look_at_values(
    layout: StoreLayout, corpus: str, feature: str, live: pl.DataFrame, most: int, partitions: Sequence[str] = ()
) -> Looked | None:
    """Return up to `most` live clips of some dates, or of all, that have a value; None where none has."""
    there = [p for p in layout.dataset(corpus, feature).partitions() if not partitions or p in partitions]
    chosen = choose_evenly(live.filter(pl.col("partition").is_in(there)), most)
    if chosen.is_empty():
        return None
    snapshot = take_snapshot(layout, corpus, (feature,), sorted(set(chosen["partition"])))
    reader = AlignedReader(layout, snapshot, (feature,), spine=chosen)
    found = [(row, value.array) for row in range(len(reader)) if (value := reader.value(row, feature)) is not None]
    if not found:
        return None
    rows = [row for row, _ in found]
    x_ND = np.stack([_mean(array) for _, array in found])
    return Looked(clips=reader.spine[rows], x_ND=x_ND)


def choose_evenly(live: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return up to `most` rows of up to eight shards, both evenly spread."""
    shards = live.select("partition", "shard").unique().sort("partition", "shard")
    near = live.join(shards[_spread(shards.height, _MOST_SHARDS)], on=["partition", "shard"], how="semi")
    ordered = near.sort("partition", "shard", "ordinal")
    return ordered[_spread(ordered.height, most)]


def _spread(length: int, most: int) -> list[int]:
    places: list[int] = np.linspace(0, max(length - 1, 0), min(length, most)).round().astype(np.int64).tolist()
    return places


def _mean(array: np.ndarray) -> np.ndarray:
    row_D = np.asarray(array, np.float64)
    return np.nan_to_num(row_D.mean(axis=0) if row_D.ndim > 1 else row_D, posinf=0.0, neginf=0.0)
