"""Which clip of the other side belongs to a clip, as places in lists.

Every clip asks once from each side, and is looked for among the clips that were tested together with it: those of its
own fold, whose network made their vectors. That gallery is fixed: where clips are resampled, or some are taken, they
are queries, and what they were found among stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.interval import CHUNK_CELLS
from mmpipe.evaluate.measures.retrieval import (
    CUTOFFS,
    Judged,
    average_precisions,
    chance_hits,
    chance_precisions,
    chance_reciprocal_ranks,
    first_ranks,
    of_ranks,
)
from mmpipe.evaluate.measures.statistic import Statistic, mean_of
from mmpipe.types import digest_of

DIGITS = 6  # of a cosine of float32 vectors: nearer ones are equal, and equal ones count against the model
SIDES = ("query", "item")  # who asks: "query r@1" is of queries that look for items


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchAnswers(Answers):
    """Both vectors of each clip in the shared space, and the place of its best right one in each list, from 1.

    A side that a clip lacks is a vector of zeros: it ties with everything, and stands last. Clips of one `pair` are
    right for each other. The measure is the mean reciprocal rank both ways: it uses every list to its end, where R@1
    takes a yes or no of it, and what chance expects of it is exact. Neither sees a difference clearly sooner.
    """

    pairs_N: np.ndarray  # int64: equal ids are equal pairs
    queries_ND: np.ndarray  # float32, of length 1 or 0
    items_ND: np.ndarray
    galleries_N: np.ndarray  # int64: equal ids were tested together
    places_N2: np.ndarray  # float64, of the query among items and of the item among queries
    precisions_N2: np.ndarray  # float64, average precision of both lists
    right_N: np.ndarray  # int64, how many of the list are right, its own clip among them
    listed_N: np.ndarray  # int64, how many are in the list

    goal: ClassVar[Goal] = Goal.RETRIEVE
    measure: ClassVar[str] = "mean reciprocal rank"
    constant_name: ClassVar[str] = "chance"
    columns: ClassVar[Mapping[str, str]] = {
        "pairs_N": "pair",
        "queries_ND": "query",
        "items_ND": "item",
        "galleries_N": "gallery",
        "places_N2": "places",
        "precisions_N2": "precisions",
        "right_N": "right",
        "listed_N": "listed",
    }

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        self.require_rows()
        if self.queries_ND.shape != self.items_ND.shape or self.queries_ND.ndim != 2:
            raise ValueError(f"queries {self.queries_ND.shape} and items {self.items_ND.shape} must be (clips, size)")
        if not (np.isfinite(self.queries_ND).all() and np.isfinite(self.items_ND).all()):
            raise ValueError("a vector is not of finite numbers")

    @classmethod
    def found(
        cls,
        keys: Sequence[str],
        groups: Sequence[str],
        pairs_N: np.ndarray,
        queries_ND: np.ndarray,
        items_ND: np.ndarray,
    ) -> Self:
        """Return clips that were tested together, each looked for among all of them."""
        gallery = int(digest_of("gallery", *sorted(keys))[:15], 16)
        lists = _Lists.of(pairs_N, queries_ND, items_ND)
        return cls(
            keys=tuple(keys),
            groups=tuple(groups),
            pairs_N=np.asarray(pairs_N, dtype=np.int64),
            queries_ND=np.asarray(queries_ND, dtype=np.float32),
            items_ND=np.asarray(items_ND, dtype=np.float32),
            galleries_N=np.full(len(keys), gallery, dtype=np.int64),
            places_N2=lists.places_N2,
            precisions_N2=lists.precisions_N2,
            right_N=lists.right_N,
            listed_N=np.full(len(keys), len(keys), dtype=np.int64),
        )

    @property
    def worth_N(self) -> np.ndarray:
        """Return the reciprocal rank, mean of both directions."""
        return np.asarray((1 / self.places_N2).mean(axis=1))

    @property
    def truth_N(self) -> np.ndarray:
        """Return the ids of equal pairs."""
        return self.pairs_N

    def constant(self) -> Self:
        """Return what random lists reach over all orders: a place is the inverse of its expected inverse."""
        counts = self.right_N, self.listed_N
        return replace(
            self,
            places_N2=np.repeat(1 / chance_reciprocal_ranks(*counts)[:, None], 2, axis=1),
            precisions_N2=np.repeat(chance_precisions(*counts)[:, None], 2, axis=1),
        )

    def with_truth_of(self, other: Self) -> Self:
        """Return these answers beside the truth of others, each looked for anew among what is left of its gallery.

        Where these clips are fewer than then, that is easier: a comparison leans to these answers.
        """
        places_N2, precisions_N2 = self.places_N2.copy(), self.precisions_N2.copy()
        right_N, listed_N = self.right_N.copy(), self.listed_N.copy()
        for gallery in np.unique(self.galleries_N):
            rows = np.flatnonzero(self.galleries_N == gallery)
            lists = _Lists.of(other.pairs_N[rows], self.queries_ND[rows], self.items_ND[rows])
            places_N2[rows], precisions_N2[rows] = lists.places_N2, lists.precisions_N2
            right_N[rows], listed_N[rows] = lists.right_N, len(rows)
        return replace(
            self,
            pairs_N=other.pairs_N,
            places_N2=places_N2,
            precisions_N2=precisions_N2,
            right_N=right_N,
            listed_N=listed_N,
        )

    def statistics(self) -> Mapping[str, Statistic]:
        """Return recalls, reciprocal and median rank and average precision of both directions, and the mean recalls."""
        found: dict[str, Statistic] = {}
        for column, side in enumerate(SIDES):
            measured = of_ranks(self.places_N2[:, column], self.precisions_N2[:, column])
            found |= {f"{side} {name}": statistic for name, statistic in measured.items()}
        return found | {f"r@{k}": mean_of((self.places_N2 <= k).mean(axis=1)) for k in CUTOFFS}

    def chances(self) -> dict[str, float]:
        """Return what random lists reach in the mean: exact, by the right ones in each list and its length."""
        counts = self.right_N, self.listed_N
        hits = {f"r@{k}": float(chance_hits(*counts, k).mean()) for k in CUTOFFS}
        return hits | {
            "mrr": float(chance_reciprocal_ranks(*counts).mean()),
            "map": float(chance_precisions(*counts).mean()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    """Where each clip was found among all of these, both ways."""

    places_N2: np.ndarray
    precisions_N2: np.ndarray
    right_N: np.ndarray

    @classmethod
    def of(cls, pairs_N: np.ndarray, queries_ND: np.ndarray, items_ND: np.ndarray) -> _Lists:
        """Look up a bounded number of lists at a time."""
        num_clips = len(pairs_N)
        sides = queries_ND.astype(np.float64), items_ND.astype(np.float64)
        places_N2, precisions_N2 = np.zeros((num_clips, 2)), np.zeros((num_clips, 2))
        right_N = np.zeros(num_clips, dtype=np.int64)
        for start in range(0, num_clips, step := max(1, CHUNK_CELLS // num_clips)):
            rows = slice(start, start + step)
            right_QN = pairs_N[rows, None] == pairs_N[None]
            judged = Judged(right_QC=right_QN, left_out_QC=np.zeros_like(right_QN))
            right_N[rows] = right_QN.sum(axis=1)
            for column, (asking_ND, found_ND) in enumerate((sides, sides[::-1])):
                similarity_QN = np.round(asking_ND[rows] @ found_ND.T, DIGITS)
                places_N2[rows, column] = first_ranks(similarity_QN, judged)
                precisions_N2[rows, column] = average_precisions(similarity_QN, judged)
        return cls(places_N2=places_N2, precisions_N2=precisions_N2, right_N=right_N)
