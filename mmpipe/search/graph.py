"""The nearest vectors along a graph of neighbours (HNSW, by usearch): fast among millions, and not always right."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError, StoreError
from mmpipe.search.nearest import Nearest, rank

_BUILD_REACH = 128  # candidates that a vector is linked among
_MOST_ALONE = 10_000  # vectors that one thread links: of several, who comes first decides the links
_SPARE = 4  # times as many are looked up as are asked for, and ranked exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphShape:
    """How a graph is made."""

    links: int
    reach: int  # of a search


def build_graph(path: Path, vectors_ND: np.ndarray, shape: GraphShape) -> None:
    """Write the graph of all vectors as a new file; of many vectors its links depend on how threads took turns."""
    graph = _usearch().Index(
        ndim=vectors_ND.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=shape.links,
        expansion_add=_BUILD_REACH,
        expansion_search=shape.reach,
    )
    threads = len(os.sched_getaffinity(0)) if len(vectors_ND) > _MOST_ALONE else 1
    graph.add(np.arange(len(vectors_ND), dtype=np.uint64), vectors_ND, threads=threads)
    graph.save(str(path))


class Graph:
    """A graph in a file, which is mapped and not read: what a search touches comes into memory, no more."""

    def __init__(self, path: Path, vectors_ND: np.ndarray, keys_N: np.ndarray, shape: GraphShape) -> None:
        """Open a file whose bytes were checked."""
        self._vectors_ND, self._keys_N = vectors_ND, keys_N
        self._graph = _usearch().Index.restore(str(path), view=True)
        if self._graph is None or (self._graph.ndim, len(self._graph)) != (vectors_ND.shape[1], len(vectors_ND)):
            raise StoreError(f"{path} is no graph of these {len(vectors_ND)} vectors")
        self._graph.expansion_search = shape.reach

    def nearest(self, query_D: np.ndarray, count: int) -> Nearest:
        """Return the nearest that the graph leads to, ranked by exact scores."""
        wanted = min(max(count * _SPARE, count), len(self._vectors_ND))
        found = self._graph.search(np.asarray(query_D, dtype=np.float32), wanted, threads=1)
        rows = np.sort(np.asarray(found.keys, dtype=np.int64))
        return rank(query_D, self._vectors_ND, self._keys_N, rows, count)


def _usearch() -> Any:
    try:
        from usearch import index
    except ModuleNotFoundError as error:
        raise ConfigError(
            "so many clips are searched along a graph, which usearch makes, and it is not installed. "
            "Run: pip install 'mmpipe[ann]'. Or compare all of them: --exact, or search.exact_up_to = a larger number"
        ) from error
    return index
