"""The nearest vectors are those that a plain product in double precision finds, ties and all."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.search import nearest as nearest_module
from mmpipe.search.nearest import DIGITS, nearest


def units(count: int, dim: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    vectors_ND = random.normal(size=(count, dim)).astype(np.float32)
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


def keys_of(count: int, seed: int = 1) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(count)
    return np.array([f"k{number:06d}" for number in order], dtype=np.bytes_)


def expected(query_D: np.ndarray, vectors_ND: np.ndarray, keys_N: np.ndarray, rows: np.ndarray, count: int) -> list:
    scores = np.round(vectors_ND.astype(np.float64) @ query_D.astype(np.float64), DIGITS)
    return sorted(rows.tolist(), key=lambda row: (-scores[row], keys_N[row]))[:count]


@pytest.mark.parametrize(("count", "dim"), [(1, 3), (500, 4), (3_000, 64), (400, 700)])
def test_it_finds_what_all_scores_say(count: int, dim: int) -> None:
    vectors_ND, keys_N = units(count, dim), keys_of(count)
    queries_QD = units(5, dim, seed=2)
    for query_D, found in zip(queries_QD, nearest(queries_QD, vectors_ND, keys_N, 10), strict=True):
        assert found.rows_K.tolist() == expected(query_D, vectors_ND, keys_N, np.arange(count), 10)
        assert found.scores_K.tolist() == sorted(found.scores_K, reverse=True)


def test_equal_vectors_come_by_their_keys_however_many_there_are() -> None:
    vectors_ND = np.repeat(units(3, 8), 50, axis=0)
    keys_N = keys_of(150)
    (found,) = nearest(vectors_ND[:1], vectors_ND, keys_N, 20)
    assert keys_N[found.rows_K].tolist() == sorted(keys_N[:50])[:20]


def test_only_the_rows_that_may_be_found_are() -> None:
    vectors_ND, keys_N = units(200, 6), keys_of(200)
    rows = np.arange(3, 200, 7)
    (found,) = nearest(vectors_ND[:1], vectors_ND, keys_N, 5, rows)
    assert found.rows_K.tolist() == expected(vectors_ND[0], vectors_ND, keys_N, rows, 5)
    (none,) = nearest(vectors_ND[:1], vectors_ND, keys_N, 5, np.empty(0, np.int64))
    assert not len(none.rows_K)


def test_more_than_there_are_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_module, "BLOCK_CELLS", 30)  # several blocks of queries
    vectors_ND, keys_N = units(20, 6), keys_of(20)
    found = nearest(vectors_ND, vectors_ND, keys_N, 99)
    assert [sorted(each.rows_K.tolist()) for each in found] == [list(range(20))] * 20
    assert [each.rows_K[0] for each in found] == list(range(20))
