"""An estimate with its interval, and the draws of groups that it is from.

Axes: D draws, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CHUNK_CELLS = 4_000_000  # weights held at once: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the central share `confidence` of its resamples."""

    estimate: float
    low: float
    high: float
    confidence: float
    num_groups: int
    draws: int


def draw_weights(num_groups: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield multinomial weights [D, G] in chunks; counting drawn indices is many times faster than `multinomial`."""
    chunk = max(1, CHUNK_CELLS // num_groups)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        cell = rng.integers(num_groups, size=(rows, num_groups)) + num_groups * np.arange(rows)[:, None]
        yield np.bincount(cell.ravel(), minlength=rows * num_groups).reshape(rows, num_groups).astype(float)
