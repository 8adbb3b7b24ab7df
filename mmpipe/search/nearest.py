"""The nearest vectors by comparing all: blocks of a matrix product, then the few that matter once more, exactly.

Scores are cosines of unit vectors, rounded as an evaluation rounds them; of equal ones the smaller key comes first.
Axes: Q queries, N vectors, D dimensions, K results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

DIGITS = 6  # of a cosine of float32 vectors: nearer ones are equal, as in an evaluation
BLOCK_CELLS = 1 << 24  # scores that are held at once: 64 MB
_HALF_ULP = 2.0**-24  # relative, of float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearest:
    """The rows of the nearest vectors, best first, and their scores."""

    rows_K: np.ndarray  # int64
    scores_K: np.ndarray  # float64, rounded


def nearest(
    queries_QD: np.ndarray,
    vectors_ND: np.ndarray,
    keys_N: np.ndarray,
    count: int,
    rows: np.ndarray | None = None,
) -> list[Nearest]:
    """Return for each query the `count` nearest of all vectors, or of those at `rows`."""
    found: list[Nearest] = []
    chosen = np.arange(len(vectors_ND), dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
    among_ND = vectors_ND if rows is None else vectors_ND[chosen]
    count = min(count, len(chosen))
    if not count:
        return [_nothing() for _ in queries_QD]
    queries_QD = np.asarray(queries_QD, dtype=np.float32)
    for scores_BN, block_BD in _blocks(queries_QD, among_ND):
        for score_N, query_D in zip(scores_BN, block_BD, strict=True):
            near = chosen[_candidates(score_N, count, vectors_ND.shape[1])]
            found.append(rank(query_D, vectors_ND, keys_N, near, count))
    return found


def rank(query_D: np.ndarray, vectors_ND: np.ndarray, keys_N: np.ndarray, rows: np.ndarray, count: int) -> Nearest:
    """Return the `count` best of a few rows, by scores in double precision and then by key."""
    # Row by row, so that a score does not depend on which others are asked about.
    scores = np.einsum("nd,d->n", vectors_ND[rows].astype(np.float64), query_D.astype(np.float64))
    scores = np.round(scores, DIGITS) + 0.0  # no negative zero
    order = np.lexsort((keys_N[rows], -scores))[:count]
    return Nearest(rows_K=rows[order], scores_K=scores[order])


def _blocks(queries_QD: np.ndarray, among_ND: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, BLOCK_CELLS // len(among_ND))
    for start in range(0, len(queries_QD), step):
        block_BD = queries_QD[start : start + step]
        yield block_BD @ among_ND.T, block_BD


def _candidates(score_N: np.ndarray, count: int, dim: int) -> np.ndarray:
    """Return where the exact scores may be among the first: a product in single precision is off by a bounded error."""
    if count >= len(score_N):
        return np.arange(len(score_N))
    least = np.partition(score_N, len(score_N) - count)[len(score_N) - count]
    margin = 4 * dim * _HALF_ULP + 10.0**-DIGITS
    return np.flatnonzero(score_N >= least - margin)


def _nothing() -> Nearest:
    return Nearest(rows_K=np.empty(0, np.int64), scores_K=np.empty(0))
