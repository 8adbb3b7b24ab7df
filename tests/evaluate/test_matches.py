"""Answers of a search: places, ties, chance, galleries that stay, and files."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.answers import matches
from mmpipe.evaluate.answers.base import join
from mmpipe.evaluate.answers.files import from_parquet, to_parquet
from mmpipe.evaluate.answers.matches import MatchAnswers
from mmpipe.evaluate.measures.statistic import estimates, intervals

RNG = np.random.default_rng(3)


def unit(rows_ND: np.ndarray) -> np.ndarray:
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def made(num_clips: int = 40, noise: float = 0.4, pairs=None, prefix: str = "k", rng=RNG) -> MatchAnswers:
    queries_ND = unit(rng.normal(size=(num_clips, 8)))
    items_ND = unit(queries_ND + noise * rng.normal(size=queries_ND.shape))
    return MatchAnswers.found(
        [f"{prefix}{n:03}" for n in range(num_clips)],
        [f"{prefix}{n // 2}" for n in range(num_clips)],
        np.arange(num_clips) if pairs is None else np.asarray(pairs),
        queries_ND,
        items_ND,
    )


def test_places_and_recalls_are_those_of_sorted_lists() -> None:
    answers = made(pairs=np.arange(40) // 2)  # two of each
    similarity_NN = answers.queries_ND.astype(float) @ answers.items_ND.astype(float).T
    for column, matrix_NN in enumerate((similarity_NN, similarity_NN.T)):
        for row in range(40):
            listed = answers.pairs_N[np.argsort(-matrix_NN[row], kind="stable")]
            assert answers.places_N2[row, column] == 1 + np.flatnonzero(listed == answers.pairs_N[row])[0]
    measured = estimates(answers.statistics(), 40)
    assert measured["query r@1"] == pytest.approx((answers.places_N2[:, 0] == 1).mean())
    assert measured["r@5"] == pytest.approx((measured["query r@5"] + measured["item r@5"]) / 2)
    assert answers.worth == pytest.approx((measured["query mrr"] + measured["item mrr"]) / 2)


def test_many_lists_are_looked_up_a_few_at_a_time(monkeypatch) -> None:
    pairs = np.arange(40) // 3
    whole = made(pairs=pairs, rng=np.random.default_rng(1))
    monkeypatch.setattr(matches, "CHUNK_CELLS", 40 * 7)
    again = made(pairs=pairs, rng=np.random.default_rng(1))
    for name in ("places_N2", "precisions_N2", "right_N"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_what_is_missing_or_equal_stands_last() -> None:
    answers = made(num_clips=10, noise=0.0)
    lame = MatchAnswers.found(
        answers.keys,
        answers.groups,
        answers.pairs_N,
        answers.queries_ND * (np.arange(10) > 0)[:, None],
        answers.items_ND,
    )
    assert lame.places_N2[0, 0] == 10
    assert (lame.places_N2[1:, 0] == 1).all()
    same = np.ones((10, 2), np.float32)
    nothing = MatchAnswers.found(answers.keys, answers.groups, answers.pairs_N, same, same)
    assert set(nothing.places_N2.ravel()) == {10.0} and nothing.worth < nothing.constant().worth


def test_chance_is_what_random_vectors_reach() -> None:
    pairs = np.arange(30) // 3
    drawn = [made(30, noise=1e6, pairs=pairs, rng=np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([one.worth for one in drawn]) == pytest.approx(drawn[0].constant().worth, abs=0.01)
    chances = drawn[0].chances()
    for name in ("r@1", "r@5", "r@10"):
        found = np.mean([estimates({"it": one.statistics()[name]}, 30)["it"] for one in drawn])
        assert chances[name] == pytest.approx(found, abs=0.02), name
    assert chances["mrr"] == pytest.approx(drawn[0].constant().worth)


def test_folds_keep_their_galleries_and_some_rows_their_places() -> None:
    parts = [made(prefix=name) for name in "ab"]
    whole = join(parts)
    assert len(whole.keys) == 80 and len(np.unique(whole.galleries_N)) == 2 and set(whole.listed_N) == {40}
    assert whole.worth == pytest.approx(np.mean([part.worth for part in parts]))
    some = whole.take(np.arange(0, 80, 3))
    np.testing.assert_array_equal(some.places_N2, whole.places_N2[::3])
    found = intervals(whole.statistics(), whole.groups, draws=100)
    assert found["query r@1"].num_groups == 40
    again = whole.with_truth_of(whole)
    np.testing.assert_array_equal(again.places_N2, whole.places_N2)
    merged = whole.with_truth_of(join([made(prefix=name, pairs=np.arange(40) // 4) for name in "ab"]))
    assert (merged.places_N2 <= whole.places_N2).all() and set(merged.right_N) == {4}


def test_a_file_keeps_all_of_it() -> None:
    answers = join([made(prefix=name) for name in "ab"])
    back = from_parquet(to_parquet(answers))
    assert isinstance(back, MatchAnswers) and back.keys == answers.keys and back.groups == answers.groups
    for name in answers.columns:
        np.testing.assert_array_equal(getattr(back, name), getattr(answers, name))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        MatchAnswers.found(["a", "b"], ["a", "b"], np.arange(2), np.full((2, 3), np.nan), np.ones((2, 3)))
    with pytest.raises(ValueError, match="twice"):
        MatchAnswers.found(["a", "a"], ["a", "b"], np.arange(2), np.ones((2, 3)), np.ones((2, 3)))
