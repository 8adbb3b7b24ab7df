"""How long does a search take among 10,000, 100,000 and 1,000,000 clips, and what does a graph miss?

benchmarks/search.py                     all three sizes, 64 numbers a clip; the graph of a million takes minutes
benchmarks/search.py --quick             2,000 and 10,000 clips: shows that it runs, no more
benchmarks/search.py --sizes 10000 100000
benchmarks/search.py --scattered         clips around no topic: what a graph finds hardest

Vectors are made up: clips around a few thousand topics, and queries near some of them. They are written as an index of
`mmpipe search`, opened as it opens them, and asked one by one for the ten nearest, along with what one would write by
hand: one product by numpy with a partial sort, and usearch's own search on a graph of the same shape. Every query is
asked of all in turn, so that a busy machine slows all of them. Recall is the share of the exact ten that are found.
What embedding a query costs is not in it: that is the same whatever is searched.

A process that searches opens an index and asks once. That is measured too (`open_and_ask_ms`): bytes that were never
checked are read whole (`first`); afterwards their receipt is believed.

Goals: all compared within 1.5 times numpy's time at 100,000, and the graph with a recall of at least 0.95 there and
within 1.5 times usearch's own time, though it ranks four times as many by exact scores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mmpipe.config import SearchConfig
from mmpipe.search.graph import GraphShape
from mmpipe.search.index import add_graph, open_graph, open_index, write_index
from mmpipe.search.manifest import IndexIdentity
from mmpipe.search.nearest import nearest
from mmpipe.search.receipt import RECEIPT_NAME, STILL_NS

DIM, COUNT = 64, 10
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (2_000, 10_000)
CLIPS_PER_TOPIC = 40
MOST_OPENED = 20  # times that an index is opened anew
SPREAD = 0.5  # of clips around their topic, as a share of its length
NUMPY, EXACT, USEARCH, GRAPH = "numpy", "exact", "usearch", "graph"
GOALS = {"exact_over_numpy_at_100000": 1.5, "graph_over_usearch_at_100000": 1.5, "graph_recall_at_100000": 0.95}

_T = TypeVar("_T")
Ask = Callable[[np.ndarray], Sequence[int]]


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few clips and queries")
    parser.add_argument("--sizes", type=int, nargs="+", help="how many clips, each in its turn")
    parser.add_argument("--queries", type=int, default=200, help="queries of every size")
    parser.add_argument("--scattered", action="store_true", help="clips around no topic: what a graph finds hardest")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    sizes = arguments.sizes or (QUICK_SIZES if arguments.quick else SIZES)
    num_queries = 20 if arguments.quick else arguments.queries
    cases = {size: measure(size, num_queries, arguments.scattered) for size in sizes}
    result = report(cases, arguments.quick, arguments.scattered)
    print(json.dumps(result, indent=1)) if arguments.json else print_result(result)


def measure(size: int, num_queries: int, scattered: bool = False) -> dict[str, Any]:
    """Ask all of them the same questions about one index."""
    vectors_ND, queries_QD = make_vectors(size, num_queries, scattered)
    default = SearchConfig()
    shape = GraphShape(links=default.graph_links, reach=default.graph_reach)
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as name:
        folder = _write(Path(name), vectors_ND)
        first_s, _ = _timed(lambda: _open_and_ask(folder, queries_QD[0]))
        (folder / RECEIPT_NAME).unlink(missing_ok=True)
        open_s, index = _timed(lambda: open_index(folder))
        print(f"linking {size} clips", file=sys.stderr)
        build_s, _ = _timed(lambda: add_graph(index, shape))
        open_graph_s, graph = _timed(lambda: open_graph(index, shape))
        assert graph is not None, "it was made just now"
        contenders: dict[str, Ask] = {
            NUMPY: lambda query_D: by_numpy(vectors_ND, query_D),
            EXACT: lambda query_D: nearest(query_D[None], index.vectors_ND, index.keys_N, COUNT)[0].rows_K.tolist(),
            USEARCH: by_usearch(folder / "graph.usearch", shape),
            GRAPH: lambda query_D: graph.nearest(query_D, COUNT).rows_K.tolist(),
        }
        times, answers = ask_in_turn(contenders, queries_QD)
        end_to_end = {"first": {"p50": first_s * 1e3}, **_end_to_end(folder, shape, queries_QD[:MOST_OPENED])}
        return {
            "clips": size,
            "queries": num_queries,
            "ms": {who: _quantiles(found) for who, found in times.items()},
            "open_and_ask_ms": end_to_end,
            "recall": {who: recall(answers[who], answers[EXACT]) for who in (NUMPY, USEARCH, GRAPH)},
            "open_index_s": open_s,
            "open_graph_s": open_graph_s,
            "build_graph_s": build_s,
            "bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        }


def _end_to_end(folder: Path, shape: GraphShape, queries_QD: np.ndarray) -> dict[str, dict[str, float]]:
    """Return what opening and asking once takes, by comparing all and along the graph, with a receipt that counts."""
    time.sleep(1.5 * STILL_NS / 1e9)  # a receipt of what was written just now counts for nothing
    _open_and_ask(folder, queries_QD[0], shape)
    along = [(EXACT, None), (GRAPH, shape)]
    return {
        who: _quantiles([_timed(lambda: _open_and_ask(folder, query_D, by))[0] for query_D in queries_QD])  # noqa: B023
        for who, by in along
    }


def _open_and_ask(folder: Path, query_D: np.ndarray, shape: GraphShape | None = None) -> None:
    """Do what a search does with an index: open it, and ask once; along its graph where a shape is given."""
    index = open_index(folder)
    if shape is None:
        nearest(query_D[None], index.vectors_ND, index.keys_N, COUNT)
    else:
        graph = open_graph(index, shape)
        assert graph is not None, "it was made before"
        graph.nearest(query_D, COUNT)


def make_vectors(size: int, num_queries: int, scattered: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return clips around topics, and queries near some of the clips; all of length 1."""
    random = np.random.default_rng(size)
    topics_TD = _unit(random.normal(size=(max(1, size // CLIPS_PER_TOPIC), DIM)))
    around_ND = 0.0 if scattered else topics_TD[random.integers(0, len(topics_TD), size)]
    vectors_ND = _unit(around_ND + SPREAD * _noise(random, size))
    chosen = random.integers(0, size, num_queries)
    return vectors_ND, _unit(vectors_ND[chosen] + SPREAD * _noise(random, num_queries))


def ask_in_turn(
    contenders: Mapping[str, Ask], queries_QD: np.ndarray
) -> tuple[dict[str, list[float]], dict[str, list[list[int]]]]:
    """Return the seconds of every answer, and the answers; the first query warms all up and counts for nothing."""
    times: dict[str, list[float]] = {who: [] for who in contenders}
    answers: dict[str, list[list[int]]] = {who: [] for who in contenders}
    for number, query_D in enumerate(np.concatenate([queries_QD[:1], queries_QD])):
        for who, ask in contenders.items():
            seconds, rows = _timed(lambda ask=ask, query_D=query_D: ask(query_D))  # type: ignore[misc]
            if number:
                times[who].append(seconds)
                answers[who].append([int(row) for row in rows])
    return times, answers


def by_numpy(vectors_ND: np.ndarray, query_D: np.ndarray) -> Sequence[int]:
    """Return the nearest as one would write it: a product, and a sort of the few that are largest."""
    scores_N = vectors_ND @ query_D
    best = np.argpartition(-scores_N, COUNT)[:COUNT]
    return list(best[np.argsort(-scores_N[best])])


def by_usearch(path: Path, shape: GraphShape) -> Ask:
    """Return usearch's own search of the same graph, in memory."""
    from usearch.index import Index

    graph: Any = Index.restore(str(path))
    graph.expansion_search = shape.reach
    return lambda query_D: list(graph.search(query_D, COUNT, threads=1).keys)


def recall(found: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """Return the share of the exact ones that were found."""
    return float(np.mean([len(set(some) & set(all_)) / len(all_) for some, all_ in zip(found, exact, strict=True)]))


def report(cases: Mapping[int, Mapping[str, Any]], quick: bool, scattered: bool = False) -> dict[str, Any]:
    """Return all of it as plain JSON values."""
    ratios = {}
    for size, case in cases.items():
        ms = case["ms"]
        ratios[f"exact_over_numpy_at_{size}"] = ms[EXACT]["p50"] / ms[NUMPY]["p50"]
        ratios[f"graph_over_usearch_at_{size}"] = ms[GRAPH]["p50"] / ms[USEARCH]["p50"]
        ratios[f"graph_over_exact_at_{size}"] = ms[GRAPH]["p50"] / ms[EXACT]["p50"]
        ratios[f"graph_recall_at_{size}"] = case["recall"][GRAPH]
    met = {name: None if quick or scattered or name not in ratios else _meets(name, ratios[name]) for name in GOALS}
    return {
        "benchmark": "search",
        "quick": quick,
        "goals": GOALS,
        "ratios": ratios,
        "met": met,
        "cases": list(cases.values()),
        "setting": {
            "dim": DIM,
            "count": COUNT,
            "scattered": scattered,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "numpy": np.__version__,
        },
    }


def _meets(name: str, value: float) -> bool:
    return value >= GOALS[name] if "recall" in name else value <= GOALS[name]


def print_result(result: Mapping[str, Any]) -> None:
    """Print the tables for a person."""
    for case in result["cases"]:
        print(f"\n{case['clips']} clips, {case['queries']} queries for the {COUNT} nearest")
        for who, ms in case["ms"].items():
            share = f"   recall {case['recall'][who]:.3f}" if who in case["recall"] else ""
            print(f"  {who:10s} p50 {ms['p50']:8.3f} ms   p95 {ms['p95']:8.3f} ms{share}")
        opened = ", ".join(f"{who} {ms['p50']:.1f} ms" for who, ms in case["open_and_ask_ms"].items())
        print(f"  opened and asked once: {opened}")
        print(
            f"  opened and checked in {case['open_index_s']:.2f} s, the graph in {case['open_graph_s']:.2f} s; "
            f"linked in {case['build_graph_s']:.1f} s"
        )
    print("\nfigures and goals")
    for name, goal in result["goals"].items():
        met = {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
        shown = f"{result['ratios'][name]:.3f}" if name in result["ratios"] else "-"
        print(f"  {name:36s}{shown:>8s}   goal {goal}: {met}")
    if result["quick"]:
        print("\nFew clips and queries: this shows that it runs, and nothing more.")


def _write(root: Path, vectors_ND: np.ndarray) -> Path:
    identity = IndexIdentity(
        corpus="bench", model="find@1-00000000", release="0" * 64, view="made-up@1", dim=DIM, parts=(("", 0, "x"),)
    )
    keys_N = np.array([f"{number:024d}" for number in range(len(vectors_ND))], dtype=np.bytes_)
    return write_index(root, root / "_staging", identity, (len(vectors_ND),), keys_N, vectors_ND)


def _timed(work: Callable[[], _T]) -> tuple[float, _T]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    return {name: float(np.percentile(seconds, share)) * 1e3 for name, share in (("p50", 50), ("p95", 95))}


def _noise(random: np.random.Generator, size: int) -> np.ndarray:
    return random.normal(size=(size, DIM)) / np.sqrt(DIM)


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
