"""scikit-learn is the oracle, also of single draws: their weights are its sample weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.bootstrap import Measure, worth_interval
from mmpipe.evaluate.figures import measure_all
from mmpipe.evaluate.measures.calibration import calibration, reliability, risk_coverage
from mmpipe.evaluate.measures.classification import absent_classes, classification, per_class
from mmpipe.evaluate.measures.separation import anomaly, auprc, auroc, true_rate_at
from mmpipe.evaluate.measures.statistic import estimates, intervals
from mmpipe.evaluate.metrics import calibration_error, measure, negative_log_likelihood

RNG = np.random.default_rng(7)
WEIGHTS_DN = RNG.multinomial(300, np.full(300, 1 / 300), size=5).astype(float)


def answers(num_classes: int = 4, size: int = 300, seed: int = 1, absent: int = 0) -> ClassAnswers:
    """Return answers of middling worth."""
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(num_classes - absent, size=size)
    logits_NK = rng.normal(size=(size, num_classes)) + 1.2 * np.eye(num_classes)[labels_N]
    raised_NK = np.exp(logits_NK)
    return ClassAnswers(
        keys=tuple(f"k{n:04}" for n in range(size)),
        groups=tuple(f"g{n // 10}" for n in range(size)),
        labels_N=labels_N,
        probabilities_NK=raised_NK / raised_NK.sum(axis=1, keepdims=True),
        classes=tuple("abcdefgh"[:num_classes]),
    )


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_averages_over_classes_are_those_of_scikit_learn_in_every_draw(average: str) -> None:
    found = answers()
    names = [f"{average}_{kind}" for kind in ("precision", "recall", "f1")]
    ours = np.stack([classification(found)[name](WEIGHTS_DN) for name in names], axis=1)
    for row_D, weights_N in zip(ours, WEIGHTS_DN, strict=True):
        *theirs, _ = sk.precision_recall_fscore_support(
            found.labels_N, found.predicted_N, average=average, sample_weight=weights_N, zero_division=0
        )
        assert row_D == pytest.approx(theirs)


def test_each_class_is_measured_as_scikit_learn_does() -> None:
    found = answers()
    columns = sk.precision_recall_fscore_support(found.labels_N, found.predicted_N, zero_division=0)
    for number in range(4):
        mine = estimates(per_class(found)["abcd"[number]], 300)
        assert [mine["precision"], mine["recall"], mine["f1"]] == pytest.approx([c[number] for c in columns[:3]])


def test_areas_are_those_of_scikit_learn_in_every_draw_ties_included() -> None:
    found = answers()
    positive_N, scores_N = found.labels_N == 1, found.probabilities_NK[:, 1].round(2)
    assert len(np.unique(scores_N)) < 300
    theirs = [sk.roc_auc_score(positive_N, scores_N, sample_weight=w) for w in WEIGHTS_DN]
    assert auroc(scores_N, positive_N)(WEIGHTS_DN) == pytest.approx(theirs)
    theirs = [sk.average_precision_score(positive_N, scores_N, sample_weight=w) for w in WEIGHTS_DN]
    assert auprc(scores_N, positive_N)(WEIGHTS_DN) == pytest.approx(theirs)


def test_several_classes_are_each_against_the_rest_and_two_are_one_question() -> None:
    many, two = answers(), answers(num_classes=2)
    mine = estimates(classification(many), 300)
    assert mine["auroc"] == pytest.approx(sk.roc_auc_score(many.labels_N, many.probabilities_NK, multi_class="ovr"))
    assert mine["auprc"] == pytest.approx(
        sk.average_precision_score(np.eye(4)[many.labels_N], many.probabilities_NK, average="macro")
    )
    mine = estimates(classification(two), 300)
    assert mine["auroc"] == pytest.approx(sk.roc_auc_score(two.labels_N, two.probabilities_NK[:, 1]))


def test_a_class_without_clips_is_named_and_counts_in_no_average() -> None:
    found = answers(num_classes=5, absent=2)
    assert absent_classes(found) == ("d", "e")
    mine = estimates(classification(found), 300)
    assert mine["macro_f1"] == pytest.approx(measure(found).macro.f1)
    theirs = [sk.roc_auc_score(found.labels_N == k, found.probabilities_NK[:, k]) for k in range(3)]
    assert mine["auroc"] == pytest.approx(np.mean(theirs))
    whole = measure_all(found, draws=50)
    assert whole.absent_classes == ("d", "e") and "recall" in whole.per_class["d"]  # it is called, never rightly
    assert whole.per_class["d"]["recall"].estimate == 0


def test_one_class_alone_has_no_area() -> None:
    found = answers(num_classes=3, absent=2)
    assert "auroc" not in measure_all(found, draws=50).measures
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([True, True]))(np.ones((1, 2)))).all()


def test_calibration_measures_are_those_of_scikit_learn() -> None:
    found = answers()
    mine = estimates(calibration(found), 300)
    assert mine["ece"] == pytest.approx(calibration_error(found))
    assert mine["nll"] == pytest.approx(sk.log_loss(found.labels_N, found.probabilities_NK))
    assert mine["nll"] == pytest.approx(negative_log_likelihood(found))
    two = answers(num_classes=2)
    one_sided = sk.brier_score_loss(two.labels_N, two.probabilities_NK[:, 1])
    assert estimates(calibration(two), 300)["brier"] == pytest.approx(2 * one_sided)
    for number, weights_N in enumerate(WEIGHTS_DN):
        drawn = sk.log_loss(found.labels_N, found.probabilities_NK, sample_weight=weights_N)
        assert calibration(found)["nll"](WEIGHTS_DN)[number] == pytest.approx(drawn)


def test_equally_filled_bins_see_what_wide_ones_average_away() -> None:
    """Half of the clips lie at 0.955 and are always right, half at 0.995 and half right: one bin of equal width."""
    sure_N = np.repeat([0.955, 0.995], 100)
    right_N = np.concatenate([np.ones(100, bool), np.arange(100) % 2 == 0])
    labels_N = np.where(right_N, 0, 1)
    found = ClassAnswers(
        keys=tuple(map(str, range(200))),
        groups=("g",) * 200,
        labels_N=labels_N,
        probabilities_NK=np.stack([sure_N, 1 - sure_N], axis=1),
        classes=("a", "b"),
    )
    mine = estimates(calibration(found), 200)
    assert mine["ece"] == pytest.approx(0.975 - 0.75)
    assert mine["ece_adaptive"] == pytest.approx((0.045 + 0.495) / 2)


def test_the_reliability_table_holds_every_clip_and_its_gap() -> None:
    found = answers()
    table = reliability(found)
    assert sum(row.num_clips for row in table) == 300 and len(table) == 15
    gap = sum(row.num_clips * abs(row.confidence - row.accuracy) for row in table) / 300
    assert gap == pytest.approx(calibration_error(found))


def test_giving_up_the_unsure_lowers_the_risk_of_an_honest_model() -> None:
    found = answers(size=300)
    points = risk_coverage(found)
    assert points[0].coverage == 1 and points[0].risk == pytest.approx(1 - found.correct_N.mean())
    assert points[-1].risk < points[0].risk
    area = estimates(calibration(found), 300)["aurc"]
    assert points[-1].risk < area < points[0].risk


def test_the_area_under_the_risk_is_the_mean_risk_over_prefixes() -> None:
    confidence_N, right_N = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])
    found = ClassAnswers(
        keys=tuple("abcd"),
        groups=tuple("abcd"),
        labels_N=np.where(right_N, 0, 1),
        probabilities_NK=np.stack([confidence_N, 1 - confidence_N], axis=1),
        classes=("x", "y"),
    )
    assert estimates(calibration(found), 4)["aurc"] == pytest.approx(np.mean([0, 0, 1 / 3, 1 / 4]))


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.3])
def test_what_is_found_at_a_rate_of_false_alarms_is_read_off_the_roc_curve(rate: float) -> None:
    found = answers()
    positive_N, scores_N = found.labels_N == 1, found.probabilities_NK[:, 1]
    for weights_N, mine in zip(WEIGHTS_DN, true_rate_at(scores_N, positive_N, rate)(WEIGHTS_DN), strict=True):
        false_S, true_S, _ = sk.roc_curve(positive_N, scores_N, sample_weight=weights_N, drop_intermediate=False)
        assert mine == pytest.approx(true_S[false_S <= rate + 1e-9].max())


def test_anomalies_are_a_question_of_two_kinds() -> None:
    strange_N = np.arange(100) >= 90
    assert estimates(anomaly(strange_N.astype(float), strange_N), 100) == pytest.approx(
        {"auroc": 1, "auprc": 1, "tpr_at_fpr_1%": 1, "tpr_at_fpr_5%": 1}
    )
    blind = estimates(anomaly(np.zeros(100), strange_N), 100)
    assert blind == pytest.approx({"auroc": 0.5, "auprc": 0.1, "tpr_at_fpr_1%": 0, "tpr_at_fpr_5%": 0})


def test_the_general_resampler_agrees_with_the_fast_one() -> None:
    found = answers()
    mine = measure_all(found, draws=4000, seed=3).measures
    for name, kind in (("accuracy", Measure.WORTH), ("macro_f1", Measure.MACRO_F1)):
        fast = worth_interval(found, measure=kind, draws=4000, seed=3)
        assert mine[name].estimate == pytest.approx(fast.estimate)
        assert (mine[name].low, mine[name].high) == pytest.approx((fast.low, fast.high), abs=1e-9)


def test_an_interval_over_groups_is_wider_where_groups_differ() -> None:
    rng = np.random.default_rng(0)
    positive_N = np.arange(600) % 2 == 0
    skill_N = np.repeat(rng.choice([-2.0, 3.0], size=20), 30)
    scores_N = positive_N * skill_N + rng.normal(size=600)
    statistics = {"auroc": auroc(scores_N, positive_N)}
    by_group = intervals(statistics, [f"g{n // 30}" for n in range(600)])["auroc"]
    by_clip = intervals(statistics, [str(n) for n in range(600)])["auroc"]
    assert by_group.num_groups == 20 and by_group.high - by_group.low > 2 * (by_clip.high - by_clip.low)


def test_draws_without_a_value_are_left_out_and_counted() -> None:
    """Both positives are in one group of three: more than a quarter of the draws have none."""
    positive_N = np.array([True, True, False, False, False, False])
    found = intervals({"it": auroc(np.arange(6.0), positive_N)}, list("aabbcc"), draws=1000)["it"]
    assert found.estimate == 0 and 500 < found.draws < 800
