"""Who likes a clip: a score of it for each user, and where it stands among what the user likes and does not.

A user's list is of the clips that were tested together, whole, none left out: those of one fold, whose network scored
them. Where clips stand is fixed: some that are taken keep what they had among all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.measures.ranking import CUTOFFS, gains, hits
from mmpipe.evaluate.measures.separation import placements
from mmpipe.evaluate.measures.statistic import Statistic, by_rows, ratio_of
from mmpipe.types import digest_of

_OfLists = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreAnswers(Answers):
    """Who likes each clip, what its score is for each user, and its placement in the user's list.

    The measure is the area under the curve of a user's list, mean over users: how often what a user likes stands above
    what the user does not (Rendle et al. 2009). Unlike the first ten places it does not hang on which of many liked
    clips happens to stand first, so that a difference of two networks is seen with few clips.
    """

    relevance_NU: np.ndarray  # float64, at least 0
    scores_NU: np.ndarray  # float64
    lists_N: np.ndarray  # int64: equal ids were tested together
    placements_NU: np.ndarray  # float64, as of `separation.placements`; NaN where a list has one kind of clips alone

    goal: ClassVar[Goal] = Goal.RANK
    measure: ClassVar[str] = "AUC of a user's list"
    constant_name: ClassVar[str] = "lists without an order"
    columns: ClassVar[Mapping[str, str]] = {
        "relevance_NU": "relevance",
        "scores_NU": "scores",
        "lists_N": "list",
        "placements_NU": "placements",
    }

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        self.require_rows()
        shape = (len(self.keys), len(self.classes))
        if self.relevance_NU.shape != shape or self.scores_NU.shape != shape:
            got = self.relevance_NU.shape, self.scores_NU.shape
            raise ValueError(f"relevance and scores must be {shape}, got {got}")
        if not np.isfinite(self.scores_NU).all() or not (self.relevance_NU >= 0).all():
            raise ValueError("scores must be finite, relevances at least 0")

    @classmethod
    def found(
        cls,
        keys: Sequence[str],
        groups: Sequence[str],
        users: tuple[str, ...],
        relevance_NU: np.ndarray,
        scores_NU: np.ndarray,
    ) -> Self:
        """Return clips that were tested together, in the list of every user."""
        relevance_NU = np.asarray(relevance_NU, dtype=np.float64)
        scores_NU = np.asarray(scores_NU, dtype=np.float64)
        return cls(
            keys=tuple(keys),
            groups=tuple(groups),
            classes=users,
            relevance_NU=relevance_NU,
            scores_NU=scores_NU,
            lists_N=np.full(len(keys), int(digest_of("list", *sorted(keys))[:15], 16), dtype=np.int64),
            placements_NU=_placed(relevance_NU, scores_NU),
        )

    @property
    def worth_N(self) -> np.ndarray:
        """Return the mean area over users plus each clip's influence on it: as a liked clip of some, not of others.

        Users of whom no list has both kinds of clips do not count; where none does, all clips are worth 1/2.
        """
        size, found = len(self.keys), []
        for user in range(len(self.classes)):
            known_N = np.isfinite(self.placements_NU[:, user])
            liked_N = known_N & (self.relevance_NU[:, user] > 0)
            if not liked_N.any():
                continue
            part_N = np.full(size, self.placements_NU[liked_N, user].mean())
            for kind_N in (liked_N, known_N & ~liked_N):
                if kind_N.any():
                    own_N = self.placements_NU[kind_N, user]
                    part_N[kind_N] += size / len(own_N) * (own_N - own_N.mean())
            found.append(part_N)
        return np.mean(found, axis=0) if found else np.full(size, 0.5)

    @property
    def truth_N(self) -> np.ndarray:
        """Return who likes each clip."""
        return self.relevance_NU

    def constant(self) -> Self:
        """Return the same score for every clip."""
        return self._placed_anew(np.zeros_like(self.scores_NU))

    def with_truth_of(self, other: Self) -> Self:
        """Return these scores beside what others hold to be liked, in lists of what is left of them."""
        return replace(self, relevance_NU=other.relevance_NU)._placed_anew(self.scores_NU)

    def statistics(self) -> Mapping[str, Statistic]:
        """Return the area, and NDCG and hit rate at 1, 5 and 10, mean over lists with something liked.

        A resample makes the lists anew of the clips that were drawn.
        """
        found: dict[str, Statistic] = {"auc": ratio_of(self.worth_N, np.ones(len(self.keys)))}
        for cutoff in CUTOFFS:
            found[f"ndcg@{cutoff}"] = by_rows(lambda rows, k=cutoff: self._mean_of_lists(gains, rows, k))  # type: ignore[misc]
            found[f"hit_rate@{cutoff}"] = by_rows(lambda rows, k=cutoff: self._mean_of_lists(hits, rows, k))  # type: ignore[misc]
        return found

    def per_name(self) -> Mapping[str, Mapping[str, Statistic]]:
        """Return how often what each user likes stands above what the user does not."""
        liked_NU = (self.relevance_NU > 0) & np.isfinite(self.placements_NU)
        shares_NU = np.where(liked_NU, self.placements_NU, 0.0)
        return {name: {"auc": ratio_of(shares_NU[:, u], liked_NU[:, u])} for u, name in enumerate(self.classes)}

    def _mean_of_lists(self, measure: _OfLists, rows: np.ndarray, cutoff: int) -> float:
        values = []
        for one in np.unique(self.lists_N[rows]):
            some = rows[self.lists_N[rows] == one]
            values.append(measure(self.scores_NU[some].T, self.relevance_NU[some].T, cutoff))
        every = np.concatenate(values)
        return float(np.nanmean(every)) if np.isfinite(every).any() else float("nan")

    def _placed_anew(self, scores_NU: np.ndarray) -> Self:
        """Return the answers with other scores, placed among the clips of each old list."""
        placed_NU = np.zeros_like(scores_NU)
        for one in np.unique(self.lists_N):
            rows = np.flatnonzero(self.lists_N == one)
            placed_NU[rows] = _placed(self.relevance_NU[rows], scores_NU[rows])
        return replace(self, scores_NU=scores_NU, placements_NU=placed_NU)


def _placed(relevance_NU: np.ndarray, scores_NU: np.ndarray) -> np.ndarray:
    """Return the placement of each clip in each user's list of all of these."""
    columns = [placements(scores_N, liked_N) for scores_N, liked_N in zip(scores_NU.T, relevance_NU.T > 0, strict=True)]
    return np.stack(columns, axis=1)
