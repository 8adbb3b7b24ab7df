"""Linear CCA against scikit-learn, its closed form, and what it must find."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from mmpipe.train.cca import choose_cca, fit_cca

RNG = np.random.default_rng(5)


def made_sides(num_clips: int = 400, shared: int = 3, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    common_NK = RNG.normal(size=(num_clips, shared))
    sides = (common_NK @ RNG.normal(size=(shared, width)) for width in (9, 7))
    x_NP, y_NQ = (side + noise * RNG.normal(size=side.shape) for side in sides)
    return x_NP + 4.0, y_NQ - 2.0


def found_share(first_NK: np.ndarray, second_NK: np.ndarray) -> float:
    similarity_NN = first_NK @ second_NK.T
    return float((similarity_NN.argmax(1) == np.arange(len(similarity_NN))).mean())


def test_without_a_ridge_it_is_that_of_scikit_learn() -> None:
    x_NP, y_NQ = made_sides()
    mine = fit_cca(x_NP, y_NQ, ridge=0.0, dimensions=4)
    theirs = CCA(n_components=4, max_iter=5000, tol=1e-10).fit(x_NP, y_NQ)
    pairs = zip(*(scores.T for scores in theirs.transform(x_NP, y_NQ)), strict=True)
    expected_K = [np.corrcoef(one_N, other_N)[0, 1] for one_N, other_N in pairs]
    np.testing.assert_allclose(mine.correlations_K, expected_K, atol=1e-5)
    own_NK = (x_NP - x_NP.mean(0)) @ mine.first.axes_PK
    for dimension, their_N in enumerate(theirs.transform(x_NP).T):
        assert abs(np.corrcoef(own_NK[:, dimension], their_N)[0, 1]) == pytest.approx(1, abs=1e-4)


def test_a_ridge_is_the_closed_form() -> None:
    x_NP, y_NQ = made_sides(num_clips=60)
    ridge, covariances = 0.3, []
    for side in (x_NP, y_NQ):
        covariance = np.cov(side.T, bias=True)
        covariances.append(covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
    roots = []
    for covariance in covariances:
        values, vectors = np.linalg.eigh(covariance)
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    cross = (x_NP - x_NP.mean(0)).T @ (y_NQ - y_NQ.mean(0)) / len(x_NP)
    expected_K = np.linalg.svd(roots[0] @ cross @ roots[1])[1]
    mine = fit_cca(x_NP, y_NQ, ridge=ridge, dimensions=7)
    np.testing.assert_allclose(mine.correlations_K, expected_K, atol=1e-10)


def test_more_dimensions_than_clips_and_constant_ones_are_no_trouble() -> None:
    x_NP, y_NQ = made_sides(num_clips=30)
    wide_NP = np.hstack([x_NP, np.zeros((30, 50)), RNG.normal(size=(30, 50))])
    fit = fit_cca(wide_NP, y_NQ, ridge=0.1, dimensions=99)
    assert fit.first.embed(wide_NP).shape == fit.second.embed(y_NQ).shape == (30, 7)
    np.testing.assert_allclose(np.linalg.norm(fit.first.embed(wide_NP), axis=1), 1)
    nothing = fit_cca(np.ones((5, 3)), y_NQ[:5], ridge=0.1, dimensions=2)
    assert np.isfinite(nothing.first.embed(np.ones((2, 3)))).all()


def test_the_ridge_that_validation_likes_finds_unseen_pairs() -> None:
    x_NP, y_NQ = made_sides(num_clips=300, shared=6)
    wide_NP = np.hstack([x_NP, 3 * RNG.normal(size=(300, 150))])  # nearly as many dimensions as clips to learn from
    train, val, test = slice(0, 160), slice(160, 220), slice(220, 300)
    chosen = choose_cca((wide_NP[train], y_NQ[train]), (wide_NP[val], y_NQ[val]), found_share)
    plain = fit_cca(wide_NP[train], y_NQ[train], ridge=0.0, dimensions=7)

    def share(fit) -> float:
        return found_share(fit.first.embed(wide_NP[test]), fit.second.embed(y_NQ[test]))

    assert share(chosen) > max(share(plain), 5 / 80)
