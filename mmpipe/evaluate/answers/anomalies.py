"""How strange a clip is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.separation import anomaly, placements
from mmpipe.evaluate.measures.statistic import Statistic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnomalyAnswers(Answers):
    """Which clips are anomalous, and a score of each: a higher one is stranger."""

    anomalous_N: np.ndarray  # bool
    scores_N: np.ndarray  # float64

    goal: ClassVar[Goal] = Goal.ANOMALY
    measure: ClassVar[str] = "AUROC"
    constant_name: ClassVar[str] = "one score for all clips"
    columns: ClassVar[Mapping[str, str]] = {"anomalous_N": "anomalous", "scores_N": "score"}

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        object.__setattr__(self, "anomalous_N", np.asarray(self.anomalous_N, dtype=bool))
        object.__setattr__(self, "scores_N", np.asarray(self.scores_N, dtype=np.float64))
        self.require_rows()
        if not np.isfinite(self.scores_N).all():
            raise ValueError(f"{np.count_nonzero(~np.isfinite(self.scores_N))} scores are not finite numbers")

    @property
    def worth_N(self) -> np.ndarray:
        """Return each clip's influence on the AUROC (DeLong et al. 1988); 1/2 where one kind of clips is missing.

        An anomalous clip's placement is the share of normal clips that score below it, a normal one's the share of
        anomalous clips above it; the area A is the mean of either. Of N clips, n of its own kind, a clip is worth
        A + (N / n) (placement - A): the mean over all clips is A, and its spread over resamples that of both kinds.
        """
        placement_N = placements(self.scores_N, self.anomalous_N)
        if np.isnan(placement_N).any():
            return np.full(len(self.keys), 0.5)
        area = placement_N[self.anomalous_N].mean()
        own_N = np.where(self.anomalous_N, self.anomalous_N.sum(), (~self.anomalous_N).sum())
        return area + len(self.keys) / own_N * (placement_N - area)

    @property
    def truth_N(self) -> np.ndarray:
        """Return which clips are anomalous."""
        return self.anomalous_N

    def constant(self) -> Self:
        """Return the same score for every clip."""
        return replace(self, scores_N=np.zeros(len(self.keys)))

    def with_truth_of(self, other: Self) -> Self:
        """Return these scores beside what others hold to be anomalous."""
        return replace(self, anomalous_N=other.anomalous_N)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return areas under curves, and what is found at 1 % and 5 % of false alarms."""
        return anomaly(self.scores_N, self.anomalous_N)
