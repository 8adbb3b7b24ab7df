"""What the values of a shard look like, gathered value by value."""

from __future__ import annotations

import math

import numpy as np

from mmpipe.store.manifest import ShardStatistics

_ROWS_AT_ONCE = 256


class StatisticsCounter:
    """Count damage and norms over values given one at a time, in the shard's order."""

    def __init__(self) -> None:
        """Start with no value seen."""
        self._num_nan = 0
        self._num_zero = 0
        self._num_constant = 0
        self._norms: list[float] = []
        self._scratch = np.empty(0)

    def add(self, array: np.ndarray) -> None:
        """Take one clip's value, of any shape."""
        self._count(array, self._norm(array))

    def add_finite(self, array: np.ndarray) -> bool:
        """Take a value whose numbers are all finite and return True, or leave it; one look is cheaper than two."""
        norm = self._norm(array)
        if not math.isfinite(norm):
            return False
        self._count(array, norm)
        return True

    def add_rows(self, x_ND: np.ndarray) -> None:
        """Take many finite vectors at once: the same figures as one by one, at a fraction of the cost."""
        for start in range(0, len(x_ND), _ROWS_AT_ONCE):
            rows_ND = x_ND[start : start + _ROWS_AT_ONCE]
            exact_ND = rows_ND.astype(np.float64)
            self._norms += np.sqrt(np.add.reduce(np.square(exact_ND, out=exact_ND), axis=1)).tolist()
            constant_N = (rows_ND == rows_ND[:, :1]).all(axis=1)
            self._num_constant += int(constant_N.sum())
            self._num_zero += int((constant_N & (rows_ND[:, 0] == 0)).sum())

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

    def _norm(self, array: np.ndarray) -> float:
        """Return the L2 norm; a BLAS dot product would depend on the number of threads.

        No sum of squares of a float32 is too large for a double: the norm is infinite or NaN where a number is.
        """
        if array.size > len(self._scratch):
            self._scratch = np.empty(array.size)
        flat = self._scratch[: array.size]
        flat[...] = array.reshape(-1)  # exact
        return math.sqrt(np.add.reduce(np.multiply(flat, flat, out=flat)))

    def _count(self, array: np.ndarray, norm: float) -> None:
        self._num_nan += math.isnan(norm)
        self._norms.append(norm if math.isfinite(norm) else 0.0)
        flat = array.reshape(-1)
        first = flat[0]
        if first == flat[-1] and bool((flat == first).all()):
            self._num_constant += 1
            self._num_zero += bool(first == 0)


def _rounded(number: float) -> float:
    return float(f"{number:.9g}")
