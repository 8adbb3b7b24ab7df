"""How well a score parts two kinds of clips: AUROC, AUPRC, and what is found at a fixed rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, divided


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Clips in falling order of score; equal scores are one step, since no threshold parts them."""

    order_N: np.ndarray
    last_S: np.ndarray  # the last place of each step
    positive_N: np.ndarray  # in that order

    def totals(self, weights_DN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of the positives and of the negatives that are at or above each step, [D, S]."""
        weights_DN = weights_DN[:, self.order_N]
        true_DS = np.cumsum(weights_DN * self.positive_N, axis=1)[:, self.last_S]
        false_DS = np.cumsum(weights_DN * ~self.positive_N, axis=1)[:, self.last_S]
        return true_DS, false_DS


def auroc(scores_N: np.ndarray, positive_N: np.ndarray) -> Statistic:
    """Return the chance that a positive scores above a negative, a tie counting half (Hanley and McNeil 1982)."""
    steps = _steps(scores_N, positive_N)

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        true_DS, false_DS = steps.totals(weights_DN)
        rise_DS = np.diff(true_DS, axis=1, prepend=0.0)
        below_DS = false_DS[:, -1:] - false_DS
        level_DS = np.diff(false_DS, axis=1, prepend=0.0)
        won_D = (rise_DS * (below_DS + level_DS / 2)).sum(axis=1)
        return divided(won_D, true_DS[:, -1] * false_DS[:, -1])

    return measure


def placements(scores_N: np.ndarray, positive_N: np.ndarray) -> np.ndarray:
    """Return, of a positive, the share of negatives that score below it, of a negative that of positives above it.

    A tie counts half. Their mean over the positives, and that over the negatives, is the AUROC. NaN where there are
    none of the other kind.
    """
    found_N = np.full(len(scores_N), np.nan)
    high, low = np.sort(scores_N[positive_N]), np.sort(scores_N[~positive_N])
    if len(high) and len(low):
        left, right = (np.searchsorted(low, scores_N[positive_N], side=side) for side in ("left", "right"))
        found_N[positive_N] = (left + right) / 2 / len(low)
        left, right = (np.searchsorted(high, scores_N[~positive_N], side=side) for side in ("left", "right"))
        found_N[~positive_N] = 1 - (left + right) / 2 / len(high)
    return found_N


def auprc(scores_N: np.ndarray, positive_N: np.ndarray) -> Statistic:
    """Return the average precision: precision at every threshold, weighted by the recall that it adds."""
    steps = _steps(scores_N, positive_N)

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        true_DS, false_DS = steps.totals(weights_DN)
        rise_DS = np.diff(true_DS, axis=1, prepend=0.0)
        precision_DS = true_DS / np.maximum(true_DS + false_DS, 1e-300)
        return divided((rise_DS * precision_DS).sum(axis=1), true_DS[:, -1])

    return measure


def true_rate_at(scores_N: np.ndarray, positive_N: np.ndarray, false_rate: float) -> Statistic:
    """Return the largest share of positives found by a threshold that raises at most this share of false alarms."""
    if not 0 <= false_rate < 1:
        raise ValueError(f"a false-alarm rate must be in [0, 1), got {false_rate}")
    steps = _steps(scores_N, positive_N)

    def measure(weights_DN: np.ndarray) -> np.ndarray:
        true_DS, false_DS = steps.totals(weights_DN)
        allowed_DS = false_DS <= false_rate * false_DS[:, -1:] + 1e-9
        found_D = np.where(allowed_DS, true_DS, 0.0).max(axis=1)
        return np.where(false_DS[:, -1] > 0, divided(found_D, true_DS[:, -1]), np.nan)

    return measure


def anomaly(scores_N: np.ndarray, anomalous_N: np.ndarray) -> dict[str, Statistic]:
    """Return how well a score finds what is out of the ordinary; frames or clips, a higher score is stranger."""
    return {
        "auroc": auroc(scores_N, anomalous_N),
        "auprc": auprc(scores_N, anomalous_N),
        "tpr_at_fpr_1%": true_rate_at(scores_N, anomalous_N, 0.01),
        "tpr_at_fpr_5%": true_rate_at(scores_N, anomalous_N, 0.05),
    }


def _steps(scores_N: np.ndarray, positive_N: np.ndarray) -> _Steps:
    if scores_N.shape != positive_N.shape or scores_N.ndim != 1:
        raise ValueError(f"one score and one truth per clip, got {scores_N.shape} and {positive_N.shape}")
    if not np.isfinite(scores_N).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scores_N))} scores are not finite numbers")
    order_N = np.argsort(-scores_N, kind="stable")
    sorted_N = scores_N[order_N]
    last_S = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True))
    return _Steps(order_N, last_S, positive_N.astype(bool)[order_N])
