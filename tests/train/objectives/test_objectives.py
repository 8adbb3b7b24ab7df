"""Every objective against its formula, written out anew or taken from another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from mmpipe.fusion.covariance import cholesky_factor, num_covariance_outputs
from mmpipe.train.objectives.adversarial import Game, discriminator_loss, generator_loss, gradient_penalty
from mmpipe.train.objectives.multilabel import multilabel_cross_entropy
from mmpipe.train.objectives.regression import gaussian_likelihood, squared_error

BATCH, CLASSES, QUANTITIES, DIM = 7, 4, 3, 5


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_multilabel_counts_only_what_is_known() -> None:
    logits_BK, targets_BK = drawn(BATCH, CLASSES), drawn(BATCH, CLASSES, seed=1) > 0
    known_BK = drawn(BATCH, CLASSES, seed=2) > 0
    known_BK[0] = False
    p_BK = 1 / (1 + np.exp(-logits_BK.numpy()))
    losses_BK = -np.where(targets_BK.numpy(), np.log(p_BK), np.log(1 - p_BK))
    np.testing.assert_allclose(multilabel_cross_entropy(logits_BK, targets_BK), losses_BK.mean(1))
    expected_B = (losses_BK * known_BK.numpy()).sum(1) / np.maximum(known_BK.numpy().sum(1), 1)
    np.testing.assert_allclose(multilabel_cross_entropy(logits_BK, targets_BK, known_BK=known_BK), expected_B)
    assert expected_B[0] == 0


@pytest.mark.parametrize("full", [False, True])
def test_gaussian_likelihood_is_that_of_a_multivariate_normal(full: bool) -> None:
    raw_BP = 3 * drawn(BATCH, num_covariance_outputs(QUANTITIES, full=full))
    factor_BQQ = cholesky_factor(raw_BP, QUANTITIES, full=full)
    mean_BQ, targets_BQ = drawn(BATCH, QUANTITIES, seed=1), drawn(BATCH, QUANTITIES, seed=2)
    expected_B = -MultivariateNormal(mean_BQ, scale_tril=factor_BQQ).log_prob(targets_BQ)
    torch.testing.assert_close(gaussian_likelihood(mean_BQ, factor_BQQ, targets_BQ), expected_B)
    if full:
        assert (factor_BQQ[:, 1:, 0] == raw_BP[:, [QUANTITIES, QUANTITIES + 1]]).all()
    assert torch.equal(factor_BQQ, factor_BQQ.tril()) and (factor_BQQ.diagonal(dim1=1, dim2=2) > 0).all()


def test_squared_error_is_a_mean_over_quantities() -> None:
    assert squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]])).tolist() == [4.5]


def test_a_judge_that_knows_nothing_loses_two_log_two() -> None:
    unsure_B = torch.zeros(BATCH)
    assert discriminator_loss(unsure_B, unsure_B).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(unsure_B, Game.MINIMAX).item() == pytest.approx(-math.log(2))
    assert generator_loss(unsure_B, Game.NON_SATURATING).item() == pytest.approx(math.log(2))
    sure_B = torch.full((BATCH,), -9.0, requires_grad=True)
    (flat_B,) = torch.autograd.grad(generator_loss(sure_B, Game.MINIMAX), sure_B)
    (steep_B,) = torch.autograd.grad(generator_loss(sure_B, Game.NON_SATURATING), sure_B)
    assert (flat_B.sign() == steep_B.sign()).all() and steep_B.abs().min() > 1000 * flat_B.abs().max()


def test_the_gradient_penalty_of_a_linear_judge_is_half_its_square() -> None:
    weights_D = drawn(DIM)
    penalty = gradient_penalty(lambda rows_BD: rows_BD @ weights_D, drawn(BATCH, DIM, seed=1))
    torch.testing.assert_close(penalty, 0.5 * weights_D.square().sum())


def test_gradients_are_those_of_the_formulas() -> None:
    check = torch.autograd.gradcheck
    labels_BK = drawn(BATCH, CLASSES, seed=4) > 0
    mean_BQ, aims_BQ = drawn(BATCH, QUANTITIES).requires_grad_(), drawn(BATCH, QUANTITIES, seed=1)
    raw_BP = drawn(BATCH, num_covariance_outputs(QUANTITIES, full=True), seed=2).requires_grad_()
    logits_BK = drawn(BATCH, CLASSES).requires_grad_()
    assert check(lambda x: multilabel_cross_entropy(x, labels_BK), logits_BK)
    assert check(
        lambda m, r: gaussian_likelihood(m, cholesky_factor(r, QUANTITIES, full=True), aims_BQ), (mean_BQ, raw_BP)
    )
    first_BD = drawn(BATCH, DIM).requires_grad_()
    assert check(lambda r, m: discriminator_loss(r[:, 0], m[:, 0]), (logits_BK, first_BD))
    assert check(lambda m: generator_loss(m[:, 0], Game.MINIMAX), first_BD)
