from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_clips import bent, noise, observed

from mmpipe.config import Imputation
from mmpipe.train.imputation.choose import fit_chosen, hold_back
from mmpipe.train.imputation.compare import RIVALS, fit_imputer
from mmpipe.train.imputation.error import clustered_range, held_out_errors
from mmpipe.train.imputation.gan import GanSettings
from mmpipe.train.imputation.simple import NEIGHBOURS, fit_mean

CHOICES = (GanSettings(steps=400, dropout=0.0, input_noise=0.05),)


@pytest.mark.slow
def test_a_generator_that_beats_all_is_used():
    """Bent lines through few clips: what a ridge cannot see at all, and the nearest clips only coarsely."""
    train, judged = few_of_many(300), few_of_many(300, seed=1)
    imputer, report = fit_imputer(Imputation.GAN, train, judged, 0, CHOICES)
    errors = {score.method: score.squared_error.value for score in report.scores}
    assert report.kept and imputer is not None, report.reason
    assert errors[Imputation.GAN] < min(errors[method] for method in RIVALS[Imputation.GAN])
    assert report.reason.startswith("gan is used: ") and "over 6 groups" in report.reason
    assert all(gain.low > 0 for gain in report.gains.values()) and set(report.gains) == {"mean", "ridge", "knn"}


def test_a_generator_sees_what_the_mean_does_not():
    train, judged = bent(240), bent(240, seed=1)
    found = fit_chosen(Imputation.GAN, train, 0, (GanSettings(steps=200, dropout=0.0, input_noise=0.05),))
    mean = held_out_errors(fit_mean(train), judged).squared_E.mean()
    assert held_out_errors(found.imputer, judged).squared_E.mean() < 0.9 * mean
    assert found.settings["steps"] == 200 and found.game is not None


@pytest.mark.parametrize("wanted", [Imputation.RIDGE, Imputation.KNN, Imputation.GAN])
def test_on_noise_it_is_switched_off_and_says_so(wanted):
    imputer, report = fit_imputer(wanted, noise(120), noise(120, seed=1), 0, (GanSettings(steps=60),))
    assert imputer is None and not report.kept
    assert report.reason.startswith(f"{wanted.value} is switched off: ")
    assert any(gain.low <= 0 for gain in report.gains.values())
    table = json.loads(json.dumps(report.as_json()))
    assert table["wanted"] == wanted.value and not table["kept"] and table["confidence"] == 0.95
    assert {score["method"] for score in table["scores"]} == {wanted.value, *RIVALS[wanted]}


def test_the_nearest_clips_are_used_where_they_know_more_than_the_mean():
    imputer, report = fit_imputer(Imputation.KNN, bent(240), bent(120, seed=1), 0)
    assert report.kept and imputer is not None and imputer.spec.method is Imputation.KNN
    by_method = {score.method: score for score in report.scores}
    assert by_method[Imputation.KNN].settings["neighbours"] in NEIGHBOURS
    assert by_method[Imputation.MEAN].squared_error.value == pytest.approx(
        np.mean(list(by_method[Imputation.MEAN].by_feature.values()))
    )


def test_the_mean_is_the_simplest_and_has_nobody_to_beat():
    imputer, report = fit_imputer(Imputation.MEAN, noise(30), noise(30, seed=1), 0)
    assert report.kept and imputer is not None and not report.gains


def test_without_pairs_nothing_can_be_checked():
    alone_NM = np.array([(row % 2 == 0, row % 2 == 1) for row in range(20)])
    apart = observed(np.ones((20, 7)), alone_NM)
    for train, judged, where in ((apart, bent(20), "training"), (bent(20), apart, "validation")):
        imputer, report = fit_imputer(Imputation.RIDGE, train, judged, 0)
        assert imputer is None and not report.kept and f"no {where} clip has two of ['a', 'b']" in report.reason


def test_held_out_errors_are_those_of_the_hidden_modality():
    present_NM = np.array([(True, row % 4 > 0) for row in range(12)])
    data = observed(np.random.default_rng(0).normal(size=(12, 7)), present_NM)
    found = held_out_errors(fit_mean(data), data)
    assert len(found.squared_E) == 18, "nine clips have two modalities, each is hidden once"
    mean_F = fit_mean(data).mean_F
    expected = (data.x_NF[1, 3:] - mean_F[3:]).square().mean().item()
    assert found.of("b").squared_E[0] == pytest.approx(expected, rel=1e-5)
    assert found.of("b").groups_E[0] == "g1"


def test_an_interval_over_groups_is_wider_than_over_clips():
    rng = np.random.default_rng(0)
    groups_E = np.repeat([f"g{n}" for n in range(8)], 50)
    values_E = np.repeat(rng.normal(size=8), 50) + 0.1 * rng.normal(size=400)
    over_groups, over_clips = clustered_range(values_E, groups_E), clustered_range(values_E, np.arange(400))
    assert over_groups.value == pytest.approx(values_E.mean()) == over_clips.value
    assert over_groups.high - over_groups.low > 3 * (over_clips.high - over_clips.low)
    one = clustered_range(values_E, np.full(400, "g"))
    assert (one.low, one.high) == pytest.approx((over_clips.low, over_clips.high), abs=0.02)


def test_every_group_is_held_back_once_and_whole():
    data = bent(60)
    folds = list(hold_back(data))
    held = [set(look.groups_N.tolist()) for _, look in folds]
    assert len(folds) == 3 and sorted(chain.from_iterable(held)) == [f"g{n}" for n in range(6)]
    assert all(not set(learn.groups_N) & set(look.groups_N) for learn, look in folds)
    one = observed(data.x_NF.numpy(), groups=1)
    assert [len(look) for _, look in hold_back(one)] == [20, 20, 20]


def few_of_many(num_clips: int, seed: int = 0):
    """Each modality is a bent function of the other in six dimensions, where no clip has near neighbours."""
    rng = np.random.default_rng(seed)
    a_NF = rng.normal(size=(num_clips, 6))
    mixing = np.random.default_rng(7).normal(size=(6, 6)) / 6**0.5
    b_NF = np.tanh(2 * a_NF @ mixing) + 0.5 * np.abs(a_NF) - 0.4
    return observed(np.concatenate([a_NF, b_NF], 1) + 0.02 * rng.normal(size=(num_clips, 12)), widths=(6, 6))
