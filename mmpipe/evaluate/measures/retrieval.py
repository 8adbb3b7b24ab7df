"""Search across modalities: where the right candidate stands in a query's list. The clips here are the queries.

Ties are counted against the model: a wrong candidate that is as similar as the right one stands before it. Of the
candidates of a query some are right (its own clip, a duplicate of it), some may be left out (other clips of its group,
which are neither right nor fairly wrong), the rest is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, by_rows, mean_of

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Which candidates are right and which are left out of a query's list."""

    right_QC: np.ndarray
    left_out_QC: np.ndarray

    @property
    def turned(self) -> Judged:
        """Return the same for the other direction: candidates ask, queries answer."""
        return Judged(right_QC=self.right_QC.T, left_out_QC=self.left_out_QC.T)


def judge_pairs(items: Sequence[str], groups: Sequence[str] | None = None) -> Judged:
    """Return what is right for queries and candidates of the same clips: the same item is, also under another key.

    Give equal items to duplicates (one sentence said twice, by its text). Where groups are given, other items of the
    query's own group are left out.
    """
    _, item_N = np.unique(np.array(items), return_inverse=True)
    right_NN = item_N[:, None] == item_N
    if groups is None:
        return Judged(right_QC=right_NN, left_out_QC=np.zeros_like(right_NN))
    _, group_N = np.unique(np.array(groups), return_inverse=True)
    return Judged(right_QC=right_NN, left_out_QC=(group_N[:, None] == group_N) & ~right_NN)


def first_ranks(similarity_QC: np.ndarray, judged: Judged) -> np.ndarray:
    """Return the place [Q] of each query's best right candidate, from 1; NaN where it has none."""
    _require(similarity_QC, judged)
    best_Q1 = np.where(judged.right_QC, similarity_QC, -np.inf).max(axis=1, keepdims=True)
    wrong_QC = ~judged.right_QC & ~judged.left_out_QC
    before_Q = (wrong_QC & (similarity_QC >= best_Q1)).sum(axis=1)
    return np.where(judged.right_QC.any(axis=1), before_Q + 1.0, np.nan)


def average_precisions(similarity_QC: np.ndarray, judged: Judged) -> np.ndarray:
    """Return the average precision [Q] of each query's list; NaN where it has no right candidate."""
    _require(similarity_QC, judged)
    found = np.full(len(similarity_QC), np.nan)
    for query, (row_C, right_C, out_C) in enumerate(
        zip(similarity_QC, judged.right_QC, judged.left_out_QC, strict=True)
    ):
        row_C, right_C = row_C[~out_C], right_C[~out_C]
        if right_C.any():
            listed_C = right_C[np.lexsort((right_C, -row_C))]  # of equals the wrong one first
            place_R = np.flatnonzero(listed_C) + 1
            found[query] = float((np.arange(1, len(place_R) + 1) / place_R).mean())
    return found


def retrieval(similarity_QC: np.ndarray, judged: Judged) -> dict[str, Statistic]:
    """Return R@1, R@5, R@10, the mean reciprocal rank, the median rank and the mean average precision over queries."""
    return of_ranks(first_ranks(similarity_QC, judged), average_precisions(similarity_QC, judged))


def of_ranks(ranks_Q: np.ndarray, precisions_Q: np.ndarray) -> dict[str, Statistic]:
    """Return the same of places and average precisions that are known already; NaN is a query without a right one.

    Queries are what is resampled; the lists that they were found in stay as they are.
    """
    hits = {f"r@{k}": mean_of(np.where(np.isfinite(ranks_Q), ranks_Q <= k, np.nan)) for k in CUTOFFS}
    return hits | {
        "mrr": mean_of(1 / ranks_Q),
        "median_rank": by_rows(lambda rows: _median(ranks_Q[rows])),
        "map": mean_of(precisions_Q),
    }


def chance_recall(judged: Judged, cutoff: int) -> float:
    """Return the expected R@k of random lists: no right candidate among the first k is hypergeometric."""
    right_Q, size_Q = _counts(judged)
    return float(chance_hits(right_Q, size_Q, cutoff)[right_Q > 0].mean())


def chance_hits(right_Q: np.ndarray, size_Q: np.ndarray, cutoff: int) -> np.ndarray:
    """Return how likely [Q] a right candidate is among the first k of a random list, by right ones and its length."""
    missed_Q = np.ones(len(right_Q))
    for place in range(cutoff):
        left_Q = np.maximum(size_Q - place, 0)
        missed_Q *= np.where(left_Q > 0, np.maximum(left_Q - right_Q, 0) / np.maximum(left_Q, 1), 1.0)
    return 1 - missed_Q


def chance_reciprocal_ranks(right_Q: np.ndarray, size_Q: np.ndarray) -> np.ndarray:
    """Return the expected 1 / rank [Q] of the first of r right ones in a random list of n.

    P(rank = 1) = r / n, and P(rank = k + 1) = P(rank = k) (n - k - r + 1) / (n - k); NaN where r is 0.
    """
    found = {(right, size): _expected_reciprocal(right, size) for right, size in zip(right_Q, size_Q, strict=True)}
    return np.array([found[right, size] for right, size in zip(right_Q, size_Q, strict=True)])


def chance_precisions(right_Q: np.ndarray, size_Q: np.ndarray) -> np.ndarray:
    """Return the expected average precision [Q] of a random list: (H_n + (r - 1) / (n - 1) (n - H_n)) / n.

    Bestgen 2015; H_n is the n-th harmonic number; NaN where there is no right candidate.
    """
    harmonic_Q = np.array([(1 / np.arange(1, size + 1)).sum() for size in size_Q])
    others_Q = (right_Q - 1) / np.maximum(size_Q - 1, 1) * (size_Q - harmonic_Q)
    return np.where(right_Q > 0, (harmonic_Q + others_Q) / np.maximum(size_Q, 1), np.nan)


def _counts(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Return how many candidates of each query are right, and how many it has."""
    return judged.right_QC.sum(axis=1), (~judged.left_out_QC).sum(axis=1)


def _expected_reciprocal(right: int, size: int) -> float:
    if not right:
        return np.nan
    expected, chance = 0.0, right / size
    for place in range(1, size - right + 2):
        expected += chance / place
        chance *= (size - place - right + 1) / max(size - place, 1)
    return float(expected)


def _median(ranks: np.ndarray) -> float:
    known = ranks[np.isfinite(ranks)]
    return float(np.median(known)) if len(known) else np.nan


def _require(similarity_QC: np.ndarray, judged: Judged) -> None:
    if not similarity_QC.shape == judged.right_QC.shape == judged.left_out_QC.shape:
        raise ValueError(
            f"similarities {similarity_QC.shape}, right {judged.right_QC.shape} and left out "
            f"{judged.left_out_QC.shape} must be (queries, candidates) alike"
        )
    if not np.isfinite(similarity_QC).all():
        raise ValueError("a similarity is not a finite number")
    if (judged.right_QC & judged.left_out_QC).any():
        raise ValueError("a candidate cannot be right and left out of the same list")
