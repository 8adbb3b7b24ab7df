"""The benchmark of searches runs whole on a few clips, and claims nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import COUNT, DIM, by_numpy, make_vectors, recall, report

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "search.py"


def case(exact_ms: float, found: float) -> dict[str, object]:
    ms = {who: {"p50": 1.0, "p95": 2.0} for who in ("numpy", "usearch", "graph")}
    return {"ms": {**ms, "exact": {"p50": exact_ms, "p95": 9.0}}, "recall": {"graph": found}}


def test_recall_is_the_share_of_the_exact_ones() -> None:
    assert recall([[1, 2, 9], [4, 5, 6]], [[1, 2, 3], [6, 5, 4]]) == pytest.approx(5 / 6)


def test_what_one_would_write_by_hand_finds_the_nearest() -> None:
    vectors_ND, queries_QD = make_vectors(300, 4)
    assert vectors_ND.shape == (300, DIM) and np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-6)
    for query_D in queries_QD:
        assert list(by_numpy(vectors_ND, query_D)) == list(np.argsort(-(vectors_ND @ query_D))[:COUNT])


def test_goals_are_met_or_not_by_the_figures_and_by_no_quick_run() -> None:
    met = report({100_000: case(1.4, 0.96)}, quick=False)["met"]
    assert met == dict.fromkeys(met, True)
    missed = report({100_000: case(1.6, 0.94)}, quick=False)["met"]
    assert not missed["exact_over_numpy_at_100000"] and not missed["graph_recall_at_100000"]
    assert set(report({100_000: case(1.6, 0.94)}, quick=True)["met"].values()) == {None}
    assert set(report({10_000: case(1.0, 1.0)}, quick=False)["met"].values()) == {None}


def test_it_runs_on_a_few_clips() -> None:
    pytest.importorskip("usearch", reason="mmpipe[ann] is not installed")
    command = [sys.executable, str(SCRIPT), "--quick", "--sizes", "500", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["cases"]
    assert found["clips"] == 500 and found["recall"]["numpy"] == 1.0 and found["recall"]["graph"] > 0.9
