"""What the values of a shard look like, gathered value by value."""

from __future__ import annotations

import math

import numpy as np

from mmpipe.store.manifest import ShardStatistics


class StatisticsCounter:
    """Count damage and norms over values given one at a time, in the shard's order."""

    def __init__(self) -> None:
        """Start with no value seen."""
        self._num_nan = 0
        self._num_zero = 0
        self._num_constant = 0
        self._norms: list[float] = []

    def add(self, array: np.ndarray) -> None:
        """Take one clip's value, of any shape."""
        flat = np.ravel(array).astype(np.float64)  # exact, and faster to reduce than halves
        lowest, highest = float(flat.min()), float(flat.max())
        self._num_nan += math.isnan(lowest)
        self._num_zero += lowest == highest == 0.0
        self._num_constant += lowest == highest
        self._norms.append(_norm(flat, max(-lowest, highest)))

    def result(self) -> ShardStatistics:
        """Return the statistics; norms have nine digits, so that a repeated sum always agrees."""
        if not self._norms:
            return ShardStatistics()
        return ShardStatistics(
            num_nan=self._num_nan,
            num_zero=self._num_zero,
            num_constant=self._num_constant,
            norm_mean=_rounded(math.fsum(self._norms) / len(self._norms)),
            norm_min=_rounded(min(self._norms)),
            norm_max=_rounded(max(self._norms)),
        )


def _norm(flat: np.ndarray, largest: float) -> float:
    """Return the L2 norm, and spend `flat` on it; a BLAS dot product would depend on the number of threads."""
    if not 0.0 < largest < math.inf:
        return 0.0
    return math.sqrt(float(np.add.reduce(np.multiply(flat, flat, out=flat))))


def _rounded(number: float) -> float:
    return float(f"{number:.9g}")
