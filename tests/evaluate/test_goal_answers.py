"""Kinds of answers beside classes: the worth of clips, constants, files, and what a gate makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, ndcg_score, r2_score, roc_auc_score

from mmpipe.config import GateConfig
from mmpipe.evaluate.answers.anomalies import AnomalyAnswers
from mmpipe.evaluate.answers.base import Answers, join
from mmpipe.evaluate.answers.files import from_parquet, to_parquet
from mmpipe.evaluate.answers.labels import LabelAnswers
from mmpipe.evaluate.answers.numbers import NumberAnswers
from mmpipe.evaluate.answers.scores import ScoreAnswers
from mmpipe.evaluate.bootstrap import paired_difference, worth_interval
from mmpipe.evaluate.checks import check_control
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.measures.statistic import estimates
from mmpipe.evaluate.verdict import Candidate

NUM, GROUPS = 120, 24


def named(size: int = NUM) -> dict[str, tuple[str, ...]]:
    return {
        "keys": tuple(f"clip-{n:03d}" for n in range(size)),
        "groups": tuple(f"room-{n % GROUPS:02d}" for n in range(size)),
    }


def numbers(noise: float, seed: int = 0) -> NumberAnswers:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(99).normal(size=(NUM, 2)) * [1, 10]
    return NumberAnswers(
        **named(),
        classes=("a", "b"),
        truth_NQ=truth,
        mean_NQ=truth + noise * random.normal(size=truth.shape) * [1, 10],
        covariance_NQQ=np.tile(np.diag([noise**2, 100 * noise**2]), (NUM, 1, 1)),
    )


def labels(noise: float, seed: int = 0) -> LabelAnswers:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(99).random((NUM, 4)) < [0.7, 0.5, 0.2, 0.1]
    chances = np.clip(np.where(random.random(truth.shape) < noise, ~truth, truth) * 0.8 + 0.1, 0, 1)
    return LabelAnswers(**named(), classes=tuple("abcd"), truth_NK=truth, probabilities_NK=chances)


def anomalies(noise: float, seed: int = 0) -> AnomalyAnswers:
    random = np.random.default_rng(seed)
    truth = np.arange(NUM) % 5 == 0
    return AnomalyAnswers(**named(), anomalous_N=truth, scores_N=truth + noise * random.normal(size=NUM))


def scores(noise: float, seed: int = 0) -> ScoreAnswers:
    random = np.random.default_rng(seed)
    likes = (np.random.default_rng(99).random((NUM, 6)) < 0.3).astype(float)
    said = likes + noise * random.normal(size=likes.shape)
    return ScoreAnswers.found(**named(), users=tuple("uvwxyz"), relevance_NU=likes, scores_NU=said)


GOOD, BAD, AWFUL = 0, 1, 2
NOISE = {numbers: (0.1, 0.5, 0.9), labels: (0.02, 0.15, 0.2), anomalies: (0.3, 0.7, 1.2), scores: (0.4, 0.8, 1.2)}
KINDS = list(NOISE)


@pytest.mark.parametrize("make", KINDS)
def test_files_folds_and_order_change_nothing(make):
    answers = make(0.3)
    again = from_parquet(to_parquet(answers))
    assert type(again) is type(answers) and again.classes == answers.classes
    for name in answers.columns:
        np.testing.assert_array_equal(getattr(again, name), getattr(answers, name))
        assert getattr(again, name).dtype == getattr(answers, name).dtype
    turned = answers.aligned_to(answers.keys[::-1])
    np.testing.assert_allclose(turned.worth_N, answers.worth_N[::-1])
    halves = answers.take(np.arange(60)), answers.take(np.arange(60, NUM))
    assert join(halves[::-1]).keys == answers.keys


@pytest.mark.parametrize("make", KINDS)
def test_better_answers_are_worth_more_and_a_constant_less(make):
    good, bad = make(NOISE[make][GOOD]), make(NOISE[make][BAD], seed=1)
    assert make(0.0).worth + 1e-9 >= good.worth >= bad.worth > bad.constant().worth
    assert good.worth > good.constant().worth
    difference = paired_difference(good, good.constant(), draws=400)
    assert difference.low > 0 and difference.estimate == pytest.approx(good.worth - good.constant().worth)
    assert worth_interval(bad, draws=400).low <= bad.worth <= worth_interval(bad, draws=400).high
    assert all(np.isfinite(value) for value in estimates(good.statistics(), NUM).values())


def test_numbers_are_worth_r2():
    answers = numbers(0.5)
    assert answers.worth == pytest.approx(r2_score(answers.truth_NQ, answers.mean_NQ))
    assert answers.constant().worth == pytest.approx(0)
    assert set(answers.per_name()) == {"a", "b"} and not answers.constant().is_sure


def test_labels_are_worth_the_f1_of_a_clip():
    answers = labels(0.2)
    wanted = f1_score(answers.truth_NK, answers.given_NK, average="samples", zero_division=1)
    assert answers.worth == pytest.approx(wanted)
    given = answers.constant().given_NK
    assert (given == given[0]).all() and given[0].tolist()[0]


def test_anomalies_are_worth_the_area_and_its_interval_that_of_both_kinds():
    answers = anomalies(1.0)
    assert answers.worth == pytest.approx(roc_auc_score(answers.anomalous_N, answers.scores_N))
    tied = replace(answers, scores_N=np.round(answers.scores_N))
    assert tied.worth == pytest.approx(roc_auc_score(tied.anomalous_N, tied.scores_N))
    assert answers.constant().worth == 0.5
    assert answers.take(np.flatnonzero(answers.anomalous_N)).worth == 0.5, "one kind alone says nothing"
    each = replace(answers, groups=answers.keys)
    found = worth_interval(each, draws=4000)
    random = np.random.default_rng(0)
    drawn = [random.integers(NUM, size=NUM) for _ in range(2000)]
    areas = [roc_auc_score(answers.anomalous_N[rows], answers.scores_N[rows]) for rows in drawn]
    assert found.high - found.low == pytest.approx(np.subtract(*np.quantile(areas, [0.975, 0.025])), rel=0.15)


def test_scores_are_worth_the_area_over_users_in_the_list_of_their_own_fold():
    answers = scores(0.7)
    wanted = [roc_auc_score(answers.relevance_NU[:, u], answers.scores_NU[:, u]) for u in range(6)]
    assert answers.worth == pytest.approx(np.mean(wanted)) and answers.constant().worth == 0.5
    ndcg = [ndcg_score(answers.relevance_NU[None, :, u], answers.scores_NU[None, :, u], k=10) for u in range(6)]
    figures = estimates(answers.statistics(), NUM)
    assert figures["ndcg@10"] == pytest.approx(np.mean(ndcg)) and figures["auc"] == pytest.approx(answers.worth)
    assert estimates(answers.per_name()["w"], NUM)["auc"] == pytest.approx(wanted[2])
    parts = []
    for rows in (np.arange(50), np.arange(50, NUM)):
        parts.append(
            ScoreAnswers.found(
                [answers.keys[row] for row in rows],
                [answers.groups[row] for row in rows],
                answers.classes,
                answers.relevance_NU[rows],
                answers.scores_NU[rows] + 100 * (rows[0] > 0),  # another fold's network scores otherwise
            )
        )
    both = join(parts)
    assert len(np.unique(both.lists_N)) == 2 and both.worth > answers.constant().worth
    np.testing.assert_array_equal(both.with_truth_of(both).placements_NU, both.placements_NU)
    likes = np.zeros((3, 1))
    nobody = ScoreAnswers.found("abc", "abc", ("u",), likes, likes)
    assert np.isfinite(nobody.worth)


@pytest.mark.parametrize("make", KINDS)
def test_the_gate_judges_every_kind(make):
    candidates = [
        Candidate(name=name, fused=fused, validation_scores=(score,), predictions=make(NOISE[make][level], seed))
        for name, fused, score, level, seed in (("one", False, 0.5, BAD, 1), ("both", True, 0.9, GOOD, 2))
    ]
    config = GateConfig(draws=400, shuffled_control=False)
    verdict = decide(candidates=candidates, config=config)
    assert verdict.status == "candidate" and verdict.measure == candidates[0].predictions.measure
    assert verdict.gain.mcnemar is None and verdict.gain.macro_f1 is None
    assert {reason.partition(":")[0] for reason in verdict.not_checked} >= {"calibration", "class_recall", "control"}
    worse = decide(
        candidates=[candidates[0], replace(candidates[1], predictions=make(NOISE[make][AWFUL], 3))], config=config
    )
    assert worse.status == "refused" and worse.offered == "one"
    older = decide(candidates=candidates, config=config, production=make(0.0))
    assert {check.name for check in older.checks if not check.passed} <= {"production"}


@pytest.mark.parametrize("make", KINDS)
def test_a_control_that_knows_what_it_cannot_know_fails(make):
    config, good = GateConfig(draws=400), make(NOISE[make][GOOD])

    def holds(control: Answers) -> bool:
        return check_control(control, good, config, 0).passed

    assert not holds(make(NOISE[make][GOOD], seed=5)) and holds(good.constant())
