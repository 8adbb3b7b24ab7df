"""Numbers that a model gives a clip, and how sure it is of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.regression import joint_likelihood, regression
from mmpipe.evaluate.measures.statistic import Statistic, mean_of, mean_over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberAnswers(Answers):
    """The true quantities of each clip and a model's, with the covariance that it claims where it claims one."""

    truth_NQ: np.ndarray  # float64
    mean_NQ: np.ndarray  # float64
    covariance_NQQ: np.ndarray  # float64; NaN where the network says nothing of how sure it is

    goal: ClassVar[Goal] = Goal.REGRESS
    measure: ClassVar[str] = "R2"
    constant_name: ClassVar[str] = "the mean of these clips"
    columns: ClassVar[Mapping[str, str]] = {
        "truth_NQ": "truth",
        "mean_NQ": "mean",
        "covariance_NQQ": "covariance",
    }

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        for name in self.columns:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        size = len(self.classes)
        wanted = {"truth_NQ": (size,), "mean_NQ": (size,), "covariance_NQQ": (size, size)}
        if wrong := {
            name: getattr(self, name).shape for name in wanted if getattr(self, name).shape[1:] != wanted[name]
        }:
            raise ValueError(f"{size} quantities {list(self.classes)} need arrays of their size, got {wrong}")
        self.require_rows()
        if not (np.isfinite(self.truth_NQ).all() and np.isfinite(self.mean_NQ).all()):
            raise ValueError("a truth or an answer is not a finite number")

    @property
    def is_sure(self) -> bool:
        """Say whether the network says how sure it is."""
        return bool(np.isfinite(self.covariance_NQQ).all())

    @property
    def worth_N(self) -> np.ndarray:
        """Return 1 - squared error / variance of these clips' truth, mean over the quantities: R2 is its mean."""
        variance_Q = self.truth_NQ.var(axis=0)
        share_NQ = (self.mean_NQ - self.truth_NQ) ** 2 / np.where(variance_Q > 0, variance_Q, 1.0)
        return 1 - share_NQ.mean(axis=1)

    @property
    def truth_N(self) -> np.ndarray:
        """Return the true quantities."""
        return self.truth_NQ

    def constant(self) -> Self:
        """Return the answers of one who always gives the mean, and the spread around it."""
        mean_NQ = np.broadcast_to(self.truth_NQ.mean(axis=0), self.truth_NQ.shape)
        return replace(self, mean_NQ=mean_NQ, covariance_NQQ=np.full_like(self.covariance_NQQ, np.nan))

    def with_truth_of(self, other: Self) -> Self:
        """Return these answers beside the truth of others."""
        return replace(self, truth_NQ=other.truth_NQ)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return each measure as its mean over the quantities; with covariances the joint likelihood too."""
        named = self.per_name()
        kinds = next(iter(named.values()))
        found = {kind: mean_over([one[kind] for one in named.values()]) for kind in kinds}
        if self.is_sure and len(self.classes) > 1:
            found["joint_nll"] = mean_of(joint_likelihood(self.truth_NQ, self.mean_NQ, self.covariance_NQQ))
        return found

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return errors, correlation, and with covariances likelihood and coverage, of each quantity."""
        return {
            name: regression(
                self.truth_NQ[:, q], self.mean_NQ[:, q], self.covariance_NQQ[:, q, q] if self.is_sure else None
            )
            for q, name in enumerate(self.classes)
        }
