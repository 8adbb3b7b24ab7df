"""Search for what an evaluation searched for, and see that the figures are the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.files import from_parquet, is_empty
from mmpipe.evaluate.answers.matches import SIDES, MatchAnswers
from mmpipe.evaluate.measures.retrieval import CUTOFFS
from mmpipe.search.index import SearchIndex
from mmpipe.search.nearest import nearest
from mmpipe.steps.search.library import WAIT_S, Tell, bring_up, bring_up_graph, open_library
from mmpipe.steps.search.space import Space, open_space

_FOLDS = "folds"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedMeasure:
    """One figure, as the evaluation has it and as the search finds it."""

    name: str  # "query r@5": of queries that look for items
    evaluation: float
    search: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The figures of an evaluation, found again by searching."""

    model: str
    corpus: str
    clips: int
    measures: tuple[CheckedMeasure, ...]
    moved: int  # clips that the search has at another place than the evaluation, in either direction
    graph_recall: float | None  # of the first ten along the graph; None: it was not asked for

    @property
    def holds(self) -> bool:
        """Say whether every clip is where the evaluation has it."""
        return not self.moved and all(one.evaluation == one.search for one in self.measures)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per figure."""
        return [{"measure": one.name, "evaluation": one.evaluation, "search": one.search} for one in self.measures]


def check_search(
    config: Config, reference: str, *, graph: bool = False, wait_s: float = WAIT_S, tell: Tell = lambda line: None
) -> CheckReport:
    """Ask with each clip that a release was tested on, both ways, and compare with what its evaluation says.

    With `graph` also count how many of the first ten the graph leads to. ConfigError: the release was judged by folds,
    whose networks are not its own, or tested clips are gone.
    """
    space = open_space(config, reference)
    said = _said(space)
    indexes = []
    recalls: list[float] = []
    for column in (0, 1):
        view = space.side(column)
        library = open_library(config, space, space.corpus, view, tell)
        index = bring_up(space, library, view, tell, wait_s)
        indexes.append(index)
        if graph:
            recalls += _recalls(
                bring_up_graph(library, index, config.search, tell, wait_s), index, _rows(index, said.keys)
            )
    places_N2 = np.stack([_places(said, indexes[0], indexes[1]), _places(said, indexes[1], indexes[0])], axis=1)
    return CheckReport(
        model=space.name,
        corpus=space.corpus,
        clips=len(said.keys),
        measures=tuple(_compared(said, places_N2)),
        moved=int((places_N2 != said.places_N2).any(axis=1).sum()),
        graph_recall=float(np.mean(recalls)) if recalls else None,
    )


def _said(space: Space) -> MatchAnswers:
    """Return what the evaluation found of the test clips."""
    folds = json.loads(space.version.read("lineage.json")).get(_FOLDS, 0)
    if folds:
        raise ConfigError(
            f"{space.name} was judged by {folds} folds, each by a network of its own: no clip was held out from the "
            "one that was released, so that there is no figure of it to find again"
        )
    data = space.version.read("predictions.parquet")
    if is_empty(data):
        raise ConfigError(f"every clip that {space.name} was tested on was forgotten since: nothing can be compared")
    found = from_parquet(data)
    assert isinstance(found, MatchAnswers), "a release that retrieves was tested by matches"
    return found


def _rows(index: SearchIndex, keys: Iterable[str]) -> np.ndarray:
    """Return where clips are in an index; raise ConfigError where one is gone."""
    wanted_T = np.array(list(keys), dtype=np.bytes_)
    order = np.argsort(index.keys_N)
    places = np.searchsorted(index.keys_N, wanted_T, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)] if len(order) else np.empty(0, np.int64)
    lost = int((index.keys_N[rows] != wanted_T).sum()) if len(rows) else len(wanted_T)
    if lost:
        raise ConfigError(
            f"{lost} of {len(wanted_T)} clips that {index.manifest.model} was tested on are no live clips of "
            f"{index.manifest.corpus!r} any more: its figures are about another list. Train and release again"
        )
    return np.asarray(rows)


def _places(said: MatchAnswers, asking: SearchIndex, found: SearchIndex) -> np.ndarray:
    """Return the place of each clip's best right one in its list; a wrong one that is as near stands before it."""
    queries_TD = asking.vectors_ND[_rows(asking, said.keys)]
    rows_T = _rows(found, said.keys)
    pair_of = np.full(len(found.keys_N), -1, dtype=np.int64)
    pair_of[rows_T] = said.pairs_N
    places = []
    lists = nearest(queries_TD, found.vectors_ND, found.keys_N, len(rows_T), rows_T)
    for pair, each in zip(said.pairs_N, lists, strict=True):
        is_right = pair_of[each.rows_K] == pair
        best = each.scores_K[is_right][0]
        places.append(1 + int((~is_right & (each.scores_K >= best)).sum()))
    return np.array(places, dtype=np.float64)


def _compared(said: MatchAnswers, places_N2: np.ndarray) -> Iterable[CheckedMeasure]:
    for column, side in enumerate(SIDES):
        evaluation_N, search_N = said.places_N2[:, column], places_N2[:, column]
        for cutoff in CUTOFFS:
            yield CheckedMeasure(
                name=f"{side} r@{cutoff}",
                evaluation=float((evaluation_N <= cutoff).mean()),
                search=float((search_N <= cutoff).mean()),
            )
        yield CheckedMeasure(
            name=f"{side} mrr", evaluation=float((1 / evaluation_N).mean()), search=float((1 / search_N).mean())
        )


def _recalls(graph: Any, index: SearchIndex, rows_T: np.ndarray) -> list[float]:
    """Return for each clip how many of its exact ten nearest of the same view the graph leads to."""
    queries_TD = index.vectors_ND[rows_T]
    exact = nearest(queries_TD, index.vectors_ND, index.keys_N, 10)
    return [
        len(set(each.rows_K) & set(graph.nearest(query_D, 10).rows_K)) / max(len(each.rows_K), 1)
        for query_D, each in zip(queries_TD, exact, strict=True)
    ]
