"""Recommendation: whole lists of items per user, none left out. The clips here are the users.

Ties are counted against the model: of items with equal scores the least relevant stands first.
"""

from __future__ import annotations

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, mean_of

CUTOFFS = (1, 5, 10)


def ranking(scores_QC: np.ndarray, relevance_QC: np.ndarray) -> dict[str, Statistic]:
    """Return NDCG and hit rate at 1, 5 and 10 over users with something relevant; NDCG over the whole list too."""
    whole = scores_QC.shape[1] if scores_QC.ndim == 2 else 0
    return {
        **{f"ndcg@{k}": mean_of(gains(scores_QC, relevance_QC, k)) for k in CUTOFFS},
        "ndcg": mean_of(gains(scores_QC, relevance_QC, whole)),
        **{f"hit_rate@{k}": mean_of(hits(scores_QC, relevance_QC, k)) for k in CUTOFFS},
    }


def gains(scores_QC: np.ndarray, relevance_QC: np.ndarray, cutoff: int) -> np.ndarray:
    """Return the NDCG [Q] at a cutoff: linear gains, discount log2(1 + place) (Jarvelin and Kekalainen 2002).

    NaN for a user to whom nothing is relevant.
    """
    listed_QC = _listed(scores_QC, relevance_QC)[:, :cutoff]
    ideal_QC = -np.sort(-relevance_QC, axis=1)[:, :cutoff]
    discount_C = 1 / np.log2(np.arange(2, 2 + listed_QC.shape[1]))
    best_Q = ideal_QC @ discount_C
    return np.divide(listed_QC @ discount_C, best_Q, out=np.full(len(best_Q), np.nan), where=best_Q > 0)


def hits(scores_QC: np.ndarray, relevance_QC: np.ndarray, cutoff: int) -> np.ndarray:
    """Return 1 or 0 [Q]: is anything relevant among the first; NaN for a user to whom nothing is."""
    found_Q = (_listed(scores_QC, relevance_QC)[:, :cutoff] > 0).any(axis=1)
    return np.where((relevance_QC > 0).any(axis=1), found_Q, np.nan)


def _listed(scores_QC: np.ndarray, relevance_QC: np.ndarray) -> np.ndarray:
    """Return the relevances in the order of the list."""
    if scores_QC.shape != relevance_QC.shape or scores_QC.ndim != 2:
        raise ValueError(f"scores {scores_QC.shape} and relevances {relevance_QC.shape} must be (users, items)")
    if not np.isfinite(scores_QC).all() or not (np.isfinite(relevance_QC).all() and (relevance_QC >= 0).all()):
        raise ValueError("scores must be finite, relevances finite and at least 0")
    order_QC = np.lexsort((relevance_QC, -scores_QC), axis=1)
    return np.take_along_axis(relevance_QC.astype(float), order_QC, axis=1)
