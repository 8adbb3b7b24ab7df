"""Retrieval, ranking and several labels at once."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn import metrics as sk

from mmpipe.evaluate.measures.multilabel import absent_labels, multilabel
from mmpipe.evaluate.measures.ranking import gains, ranking
from mmpipe.evaluate.measures.retrieval import (
    Judged,
    average_precisions,
    chance_hits,
    chance_precisions,
    chance_recall,
    chance_reciprocal_ranks,
    first_ranks,
    judge_pairs,
    retrieval,
)
from mmpipe.evaluate.measures.statistic import estimates, intervals

RNG = np.random.default_rng(11)


def test_the_mean_average_precision_is_that_of_scikit_learn() -> None:
    similarity_QC = RNG.normal(size=(40, 60))
    right_QC = RNG.random((40, 60)) < 0.1
    judged = Judged(right_QC=right_QC, left_out_QC=np.zeros_like(right_QC))
    for query, mine in enumerate(average_precisions(similarity_QC, judged)):
        if right_QC[query].any():
            assert mine == pytest.approx(sk.average_precision_score(right_QC[query], similarity_QC[query]))
        else:
            assert np.isnan(mine)


def test_ranks_recalls_and_the_median_both_ways() -> None:
    similarity_NN = np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.2, 0.1]])
    judged = judge_pairs(["a", "b", "c"])
    assert first_ranks(similarity_NN, judged).tolist() == [1, 2, 3]
    forth = estimates(retrieval(similarity_NN, judged), 3)
    mean = (1 + 1 / 2 + 1 / 3) / 3
    assert forth == pytest.approx({"r@1": 1 / 3, "r@5": 1, "r@10": 1, "mrr": mean, "median_rank": 2, "map": mean})
    back = estimates(retrieval(similarity_NN.T, judged.turned), 3)
    assert first_ranks(similarity_NN.T, judged.turned).tolist() == [1, 1, 3]
    assert back["r@1"] == pytest.approx(2 / 3)


def test_a_model_that_says_nothing_is_last_and_not_first() -> None:
    judged = judge_pairs([str(n) for n in range(50)])
    assert set(first_ranks(np.zeros((50, 50)), judged)) == {50}
    assert estimates(retrieval(np.zeros((50, 50)), judged), 50)["r@10"] == 0


def test_duplicates_are_right_and_others_of_the_group_are_left_out() -> None:
    similarity_NN = np.array([[0.1, 0.9, 0.8, 0.7]] * 4)
    judged = judge_pairs(["yes", "yes", "no", "maybe"], ["anna", "anna", "anna", "ben"])
    assert judged.right_QC[0].tolist() == [True, True, False, False]
    assert judged.left_out_QC[0].tolist() == [False, False, True, False]
    assert first_ranks(similarity_NN, judged)[0] == 1  # its duplicate stands first
    strict = judge_pairs(["a", "b", "c", "d"], ["anna", "anna", "anna", "ben"])
    assert first_ranks(similarity_NN, strict)[0] == 2  # of the others only ben's counts as wrong


def test_random_lists_reach_what_chance_says() -> None:
    judged = judge_pairs([str(n // 2) for n in range(60)])
    drawn = [estimates(retrieval(RNG.random((60, 60)), judged), 60)["r@5"] for _ in range(60)]
    assert np.mean(drawn) == pytest.approx(chance_recall(judged, 5), abs=0.02)
    assert chance_recall(judge_pairs(list("abcde")), 1) == pytest.approx(1 / 5)


@pytest.mark.parametrize(("right", "size"), [(1, 1), (1, 7), (2, 7), (5, 7), (7, 7)])
def test_chance_is_the_mean_over_all_orders_of_a_list(right: int, size: int) -> None:
    lists = [np.isin(np.arange(size), places) for places in combinations(range(size), right)]
    right_QC, order_QC = np.stack(lists), np.tile(-np.arange(size, dtype=float), (len(lists), 1))
    every = estimates(
        retrieval(order_QC, Judged(right_QC=right_QC, left_out_QC=np.zeros_like(right_QC))), len(right_QC)
    )
    right_Q, size_Q = np.array([right]), np.array([size])
    assert chance_reciprocal_ranks(right_Q, size_Q)[0] == pytest.approx(every["mrr"])
    assert chance_precisions(right_Q, size_Q)[0] == pytest.approx(every["map"])
    assert chance_hits(right_Q, size_Q, 5)[0] == pytest.approx(every["r@5"])


def test_intervals_of_a_search_resample_groups_of_queries() -> None:
    judged = judge_pairs([str(n) for n in range(60)])
    similarity_NN = RNG.normal(size=(60, 60)) + 2 * np.eye(60)
    found = intervals(retrieval(similarity_NN, judged), [f"g{n // 6}" for n in range(60)], draws=200)
    assert found["median_rank"].num_groups == 10
    assert all(each.low <= each.estimate <= each.high for each in found.values())


def test_what_is_no_search_is_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        first_ranks(np.zeros((2, 3)), judge_pairs(["a", "b"]))
    with pytest.raises(ValueError, match="finite"):
        first_ranks(np.full((2, 2), np.nan), judge_pairs(["a", "b"]))
    both = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match="left out"):
        first_ranks(np.zeros((2, 2)), Judged(right_QC=both, left_out_QC=both))


@pytest.mark.parametrize("cutoff", [1, 5, 10, 30])
def test_discounted_gains_are_those_of_scikit_learn(cutoff: int) -> None:
    scores_QC, relevance_QC = RNG.normal(size=(20, 30)), RNG.integers(0, 4, size=(20, 30)).astype(float)
    theirs = [
        sk.ndcg_score(relevance_QC[q : q + 1], scores_QC[q : q + 1], k=cutoff, ignore_ties=True) for q in range(20)
    ]
    assert gains(scores_QC, relevance_QC, cutoff) == pytest.approx(theirs)


def test_equal_scores_earn_nothing_and_users_without_a_wish_do_not_count() -> None:
    relevance_QC = np.array([[0, 0, 1.0], [0, 0, 0]])
    mine = estimates(ranking(np.zeros((2, 3)), relevance_QC), 2)
    assert mine["hit_rate@1"] == 0 and mine["hit_rate@5"] == 1
    assert mine["ndcg"] == pytest.approx(1 / np.log2(4))
    with pytest.raises(ValueError, match="finite"):
        ranking(np.zeros((2, 3)), -relevance_QC)


def test_several_labels_are_measured_as_scikit_learn_does() -> None:
    truth_NK = RNG.random((150, 5)) < np.array([0.5, 0.3, 0.2, 0.1, 0.0])
    scores_NK = np.clip(0.5 * truth_NK + RNG.random((150, 5)) * 0.6, 0, 1)
    given_NK, seen = scores_NK >= 0.5, slice(0, 4)
    mine = estimates(multilabel(truth_NK, scores_NK), 150)
    assert mine["exact_match"] == pytest.approx(sk.accuracy_score(truth_NK, given_NK))
    assert mine["hamming_loss"] == pytest.approx(sk.hamming_loss(truth_NK, given_NK))
    for kind, columns in (("micro", slice(None)), ("weighted", slice(None)), ("macro", seen), ("samples", slice(None))):
        theirs = sk.f1_score(truth_NK[:, columns], given_NK[:, columns], average=kind, zero_division=0)
        assert mine[f"{kind}_f1"] == pytest.approx(theirs), kind
    assert mine["auroc"] == pytest.approx(sk.roc_auc_score(truth_NK[:, seen], scores_NK[:, seen], average="macro"))
    assert mine["auprc"] == pytest.approx(sk.average_precision_score(truth_NK[:, seen], scores_NK[:, seen]))
    assert absent_labels(truth_NK, tuple("abcde")) == ("e",)
    found = intervals(multilabel(truth_NK, scores_NK), [f"g{n // 10}" for n in range(150)], draws=100)
    assert all(each.low <= each.estimate <= each.high for each in found.values())
