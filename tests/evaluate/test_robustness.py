from __future__ import annotations

import numpy as np
import pytest
from test_contribution import SIZE, random_answers, right_where

from mmpipe.evaluate.robustness import ANY, missing_curves, noise_curves, slice_scores


def test_a_missing_curve_is_what_random_hiding_gives_on_average() -> None:
    answers = random_answers(("audio", "image"))
    whole, without = answers[frozenset({"audio", "image"})].correct_N, answers[frozenset({"image"})].correct_N
    curve = missing_curves(answers, draws=200)[0]
    assert curve.what == "audio" and [point.at for point in curve.points] == [0, 0.25, 0.5, 0.75, 1]
    assert curve.points[0].worth.estimate == pytest.approx(whole.mean())
    assert curve.points[-1].worth.estimate == pytest.approx(without.mean())
    rng = np.random.default_rng(0)
    drawn = [np.where(rng.random(SIZE) < 0.25, without, whole).mean() for _ in range(2000)]
    assert curve.points[1].worth.estimate == pytest.approx(np.mean(drawn), abs=0.003)
    assert curve.area and curve.area.estimate == pytest.approx((whole.mean() + without.mean()) / 2)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_all_missing_at_random_is_the_mean_over_what_is_left(names: tuple[str, ...]) -> None:
    answers = random_answers(names)
    curve = next(c for c in missing_curves(answers, draws=100) if c.what == ANY)
    worth = {kept: found.correct_N.mean() for kept, found in answers.items()}
    rng = np.random.default_rng(1)
    there = rng.random((20_000, len(names))) >= 0.5
    drawn = [worth[frozenset(n for n, is_there in zip(names, row, strict=True) if is_there)] for row in there]
    assert curve.points[2].worth.estimate == pytest.approx(np.mean(drawn), abs=0.005)
    fine = np.linspace(0, 1, 2001)
    height = sum(w * (1 - fine) ** len(k) * fine ** (len(names) - len(k)) for k, w in worth.items())
    assert curve.area and curve.area.estimate == pytest.approx(np.trapezoid(height, fine), abs=1e-5)


def test_without_all_subsets_there_is_no_curve_of_any() -> None:
    answers = {kept: found for kept, found in random_answers(("a", "b")).items() if kept}
    assert [curve.what for curve in missing_curves(answers, draws=50)] == ["a", "b"]


def test_noise_curves_begin_with_the_clean_clips() -> None:
    clean, worse, bad = (right_where(np.arange(SIZE) % 10 < right) for right in (9, 6, 2))
    (curve,) = noise_curves(clean, {"audio": {2.0: bad, 0.5: worse}}, draws=100)
    assert [(point.at, point.worth.estimate) for point in curve.points] == [(0, 0.9), (0.5, 0.6), (2, 0.2)]
    assert curve.area is None


def test_slices_say_which_of_them_are_too_small() -> None:
    found = right_where(np.arange(SIZE) < 300)
    columns = {"accent": ["north"] * 290 + ["south"] * 90 + [""] * 10 + ["west"] * 10, "all": ["one"] * SIZE}
    scores = slice_scores(found, columns, draws=300)
    assert [(s.value, s.num_clips, s.num_groups, s.is_small) for s in scores] == [
        ("north", 290, 29, False),
        ("south", 90, 9, False),
        ("west", 10, 1, True),
        ("one", 400, 40, False),
    ]
    north, south, west, one = scores
    assert north.worth.estimate == 1 and south.worth.estimate == pytest.approx(10 / 90)
    assert north.over_rest and north.over_rest.low > 0.5
    assert south.over_rest and south.over_rest.high < 0
    assert west.over_rest and one.over_rest is None  # nothing is outside


def test_a_slice_of_one_group_is_not_more_certain_than_its_group() -> None:
    rng = np.random.default_rng(0)
    skill_N = np.repeat(rng.choice([0.2, 0.95], size=40), 10)
    found = right_where(rng.random(SIZE) < skill_N)
    side = ["left" if n < 200 else "right" for n in range(SIZE)]
    left = slice_scores(found, {"side": side}, draws=500)[0]
    iid = 2 * 1.96 * np.sqrt(left.worth.estimate * (1 - left.worth.estimate) / 200)
    assert left.worth.high - left.worth.low > 1.5 * iid


def test_only_the_largest_slices_are_listed() -> None:
    values = [f"v{n // 5}" for n in range(SIZE)]
    assert len(slice_scores(right_where(np.ones(SIZE, bool)), {"many": values}, most=7, draws=20)) == 7
