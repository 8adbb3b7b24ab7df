from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import permutation_test

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.significance import group_test, holm, mcnemar


def pair(first_G: list[int], second_G: list[int], size: int = 10) -> tuple[ClassAnswers, ClassAnswers]:
    """Return two models with so many right answers in each group of ten."""
    return _model(first_G, size), _model(second_G, size)


def _model(right_G: list[int], size: int) -> ClassAnswers:
    num_clips = len(right_G) * size
    correct_N = np.concatenate([np.arange(size) < right for right in right_G])
    return ClassAnswers(
        keys=tuple(f"k{n:05}" for n in range(num_clips)),
        groups=tuple(f"g{n // size:03}" for n in range(num_clips)),
        labels_N=np.zeros(num_clips),
        probabilities_NK=np.eye(2)[np.where(correct_N, 0, 1)],
        classes=("a", "b"),
    )


def test_five_of_six_groups_better_is_not_significant_by_signs() -> None:
    test = group_test(*pair([9, 9, 9, 9, 9, 3], [5, 5, 5, 5, 5, 5]))
    assert (test.num_better, test.num_worse) == (5, 1)
    assert test.sign_p == pytest.approx(0.21875)
    assert test.permutation_p == pytest.approx(4 / 64)


@pytest.mark.parametrize(("num_groups", "p"), [(1, 1.0), (2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_all_groups_better(num_groups: int, p: float) -> None:
    assert group_test(*pair([8] * num_groups, [5] * num_groups)).permutation_p == pytest.approx(p)


def test_agrees_with_scipy_over_unequal_gains() -> None:
    first, second = [9, 7, 6, 8, 4, 7, 9, 6], [5, 6, 6, 3, 6, 5, 4, 7]
    gains = np.subtract(first, second)
    other = permutation_test((gains,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert group_test(*pair(first, second)).permutation_p == pytest.approx(other.pvalue)


def test_many_groups_are_drawn_and_agree_with_the_normal_limit() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(3, 9, size=60), rng.integers(3, 9, size=60)
    test = group_test(*pair(first.tolist(), second.tolist()), draws=20_000)
    other = permutation_test((first - second,), np.sum, permutation_type="samples", n_resamples=20_000, rng=1)
    assert test.permutation_p == pytest.approx(other.pvalue, abs=0.02)


def test_the_margin_is_taken_off_first() -> None:
    models = pair([7] * 6, [6] * 6)
    assert group_test(*models).num_better == 6
    assert group_test(*models, margin=0.1).num_better == 0
    assert group_test(*models, margin=0.2).num_worse == 6


def test_mcnemar_by_hand() -> None:
    # 10 clips only the first has, 2 only the second: p = 2 * P(X <= 2 | 12, 1/2) = 158 / 4096.
    first, second = pair([10, 0], [0, 2])
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (10, 2)
    assert result.p == pytest.approx(158 / 4096)
    assert mcnemar(first, first).p == 1.0


@pytest.mark.parametrize("p_values", [(0.04,), (0.01, 0.04, 0.03, 0.005), (0.5, 0.5, 0.01), (0.02, 0.02, 0.9)])
def test_holm_is_the_closed_test_of_bonferroni(p_values: tuple[float, ...]) -> None:
    """A hypothesis falls where every set of hypotheses that it is in falls by Bonferroni (Marcus et al. 1976)."""
    places = range(len(p_values))
    closed = [
        max(
            min(1.0, len(those) * min(p_values[n] for n in those))
            for size in range(1, len(p_values) + 1)
            for those in combinations(places, size)
            if place in those
        )
        for place in places
    ]
    assert holm(p_values) == pytest.approx(closed)


def test_nothing_to_correct_is_nothing() -> None:
    assert holm(()) == ()
