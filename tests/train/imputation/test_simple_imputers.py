"""The simple imputers, each beside scikit-learn's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

sys.path.insert(0, str(Path(__file__).parent))

from made_clips import bent, observed

from mmpipe.train.imputation.simple import fit_mean, fit_nearest, fit_ridge

A, B = slice(0, 3), slice(3, 7)


def hidden(data, number: int):
    """The numbers and the presence when one modality is hidden from every clip."""
    present_BM = data.present_NM.clone()
    present_BM[:, number] = False
    x_BF = data.x_NF.clone()
    x_BF[:, data.columns(number)] = 0
    return x_BF, present_BM


def test_the_mean_is_over_clips_that_have_the_modality():
    present_NM = np.array([(True, row % 3 > 0) for row in range(12)])
    data = observed(np.random.default_rng(0).normal(size=(12, 7)) + 5, present_NM)
    found_BF = fit_mean(data).estimate(*hidden(data, 1))
    torch.testing.assert_close(found_BF[0, B], data.x_NF[present_NM[:, 1]][:, B].mean(0))


@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_ridge_is_that_of_scikit_learn(penalty):
    train, test = bent(60), bent(9, seed=1)
    imputer = fit_ridge(train, penalty)
    for number, seen, asked in ((1, A, B), (0, B, A)):
        x_NF = train.x_NF.double().numpy()
        theirs = Ridge(alpha=penalty).fit(x_NF[:, seen], x_NF[:, asked]).predict(test.x_NF[:, seen])
        ours_BF = imputer.estimate(*hidden(test, number))
        np.testing.assert_allclose(ours_BF[:, asked], theirs, atol=1e-5)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_the_nearest_are_those_of_scikit_learn(neighbours):
    train, test = bent(60), bent(9, seed=1)
    imputer = fit_nearest(train, neighbours)
    for number, seen, asked in ((1, A, B), (0, B, A)):
        theirs = KNeighborsRegressor(neighbours).fit(train.x_NF[:, seen], train.x_NF[:, asked])
        ours_BF = imputer.estimate(*hidden(test, number))
        np.testing.assert_allclose(ours_BF[:, asked], theirs.predict(test.x_NF[:, seen]), atol=1e-5)


def test_clips_that_lack_something_help_with_the_rest():
    """Of three modalities `c` is guessed from `a` by the clips that have both, whether or not they have `b`."""
    rng = np.random.default_rng(0)
    x_NF = rng.normal(size=(90, 6))
    x_NF[:, 4:] = x_NF[:, :2] @ rng.normal(size=(2, 2))
    present_NM = np.array([(True, row % 2 == 0, row % 3 > 0) for row in range(90)])
    data = observed(x_NF, present_NM, widths=(2, 2, 2))
    asked = torch.tensor([[True, False, False]])
    x_BF = torch.cat([torch.tensor([[0.3, -1.0]]), torch.zeros(1, 4)], 1)
    both_N = present_NM[:, 2]
    theirs = Ridge(alpha=1e-3).fit(x_NF[both_N][:, :2], x_NF[both_N][:, 4:]).predict(x_BF[:, :2])
    np.testing.assert_allclose(fit_ridge(data, 1e-3).estimate(x_BF, asked)[:, 4:], theirs, atol=1e-4)
    near = KNeighborsRegressor(3).fit(x_NF[both_N][:, :2], x_NF[both_N][:, 4:]).predict(x_BF[:, :2])
    np.testing.assert_allclose(fit_nearest(data, 3).estimate(x_BF, asked)[:, 4:], near, atol=1e-5)


def test_what_no_clip_shows_together_is_guessed_by_its_mean():
    present_NM = np.array([(row % 2 == 0, row % 2 == 1) for row in range(20)])
    data = observed(np.random.default_rng(0).normal(size=(20, 7)) + 2, present_NM)
    found_BF = fit_ridge(data, 1.0).estimate(*hidden(data.take(np.array([0])), 1))
    torch.testing.assert_close(found_BF[0, B], fit_mean(data).mean_F[B])
