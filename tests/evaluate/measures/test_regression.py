from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from mmpipe.evaluate.measures.regression import regression, sentiment
from mmpipe.evaluate.measures.statistic import estimates, intervals

RNG = np.random.default_rng(5)
TRUTH_N = RNG.normal(size=200) * 1.5 + 40
ANSWER_N = TRUTH_N + RNG.normal(size=200)
WEIGHTS_DN = RNG.multinomial(200, np.full(200, 1 / 200), size=4).astype(float)


def test_errors_and_correlation_are_those_of_the_oracles_in_every_draw() -> None:
    mine = {name: statistic(WEIGHTS_DN) for name, statistic in regression(TRUTH_N, ANSWER_N).items()}
    for number, weights_N in enumerate(WEIGHTS_DN):
        rows = np.repeat(np.arange(200), weights_N.astype(int))
        truth, answer = TRUTH_N[rows], ANSWER_N[rows]
        assert mine["mae"][number] == pytest.approx(sk.mean_absolute_error(truth, answer))
        assert mine["rmse"][number] == pytest.approx(sk.root_mean_squared_error(truth, answer))
        assert mine["r2"][number] == pytest.approx(sk.r2_score(truth, answer))
        assert mine["pearson"][number] == pytest.approx(stats.pearsonr(truth, answer).statistic)


def test_likelihood_and_coverage_of_a_claimed_variance() -> None:
    variance_N = np.full(200, 1.0)
    mine = estimates(regression(TRUTH_N, ANSWER_N, variance_N), 200)
    assert mine["nll"] == pytest.approx(-stats.norm(ANSWER_N, 1.0).logpdf(TRUTH_N).mean())
    inside = np.abs(TRUTH_N - ANSWER_N) <= stats.norm.ppf(0.95)
    assert mine["coverage_90"] == pytest.approx(inside.mean()) and 0.84 < mine["coverage_90"] < 0.96
    assert estimates(regression(TRUTH_N, ANSWER_N, variance_N / 100), 200)["coverage_90"] < 0.3


def test_what_is_constant_has_no_correlation() -> None:
    mine = estimates(regression(np.ones(5), np.arange(5.0)), 5)
    assert np.isnan(mine["pearson"]) and np.isnan(mine["r2"]) and mine["mae"] == pytest.approx(1.4)


def test_sentiment_as_mosi_reports_it() -> None:
    """Worked by hand: 0 is positive only where zeros count, and halves round to the even number."""
    truth_N = np.array([-3.0, -0.5, 0.0, 0.0, 1.5, 2.6])
    answer_N = np.array([-2.4, 0.2, 0.3, -0.2, 2.4, 3.9])
    mine = estimates(sentiment(truth_N, answer_N), 6)
    assert mine["acc2_has0"] == pytest.approx(4 / 6)
    assert mine["acc2_non0"] == pytest.approx(3 / 4)
    assert mine["acc7"] == pytest.approx(5 / 6)  # but for -3 called -2; -0.5 and 0.2 are both 0, 1.5 and 2.4 both 2
    assert mine["acc5"] == pytest.approx(1)
    has0 = sk.f1_score(truth_N >= 0, answer_N >= 0, average="weighted")
    assert mine["f1_has0"] == pytest.approx(has0)
    kept = truth_N != 0
    assert mine["f1_non0"] == pytest.approx(sk.f1_score(truth_N[kept] > 0, answer_N[kept] > 0, average="weighted"))


def test_intervals_of_a_regression_are_clustered() -> None:
    found = intervals(regression(TRUTH_N, ANSWER_N), [f"g{n // 20}" for n in range(200)], draws=300)
    assert found["mae"].num_groups == 10
    assert all(each.low <= each.estimate <= each.high for each in found.values())


@pytest.mark.parametrize(
    ("truth", "answer", "variance"),
    [([1.0], [1.0, 2.0], None), ([1.0], [np.nan], None), ([1.0], [1.0], [0.0])],
)
def test_what_cannot_be_measured_is_refused(truth: list[float], answer: list[float], variance: object) -> None:
    with pytest.raises(ValueError, match=r"per clip|finite"):
        regression(np.array(truth), np.array(answer), None if variance is None else np.array(variance))
