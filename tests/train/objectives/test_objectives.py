"""Every objective against its formula, written out anew or taken from another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.nn.functional import cross_entropy, normalize

from mmpipe.errors import ConfigError
from mmpipe.train.objectives.adversarial import Game, discriminator_loss, generator_loss, gradient_penalty
from mmpipe.train.objectives.contrastive import Temperature, info_nce, info_nce_of_all
from mmpipe.train.objectives.multilabel import multilabel_cross_entropy
from mmpipe.train.objectives.multitask import UncertaintyWeights, weighted_sum
from mmpipe.train.objectives.regression import (
    cholesky_factor,
    gaussian_likelihood,
    is_covered,
    num_covariance_outputs,
    squared_error,
)

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


def test_the_covered_share_of_right_intervals_is_theirs() -> None:
    factor_BQQ = torch.tensor([[2.0, 0.0], [1.5, 0.5]], dtype=torch.float64).expand(20_000, 2, 2)
    targets_BQ = (factor_BQQ @ drawn(20_000, 2)[:, :, None])[:, :, 0]
    covered_BQ = is_covered(torch.zeros(20_000, 2, dtype=torch.float64), factor_BQQ, targets_BQ, share=0.9)
    np.testing.assert_allclose(covered_BQ.double().mean(0), 0.9, atol=0.01)


def test_squared_error_is_a_mean_over_quantities() -> None:
    assert squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]])).tolist() == [4.5]


def test_info_nce_is_cross_entropy_of_similarities() -> None:
    first_BD, second_BD, scale = drawn(BATCH, DIM), drawn(BATCH, DIM, seed=1), torch.tensor(7.0)
    scores_BB = scale * normalize(first_BD, dim=1) @ normalize(second_BD, dim=1).T
    own_B = torch.arange(BATCH)
    expected = (cross_entropy(scores_BB, own_B) + cross_entropy(scores_BB.T, own_B)) / 2
    torch.testing.assert_close(info_nce(first_BD, second_BD, scale), expected)


def test_equal_similarities_give_the_log_of_the_batch() -> None:
    same_BD = torch.ones(BATCH, DIM, dtype=torch.float64)
    assert info_nce(same_BD, same_BD, torch.tensor(3.0)).item() == pytest.approx(math.log(BATCH))


def test_clips_of_one_group_and_absent_ones_are_no_negatives() -> None:
    first_BD, second_BD, scale = drawn(6, DIM), drawn(6, DIM, seed=1), torch.tensor(5.0)
    groups_B = torch.tensor([0, 0, 1, 2, 3, 4])
    present_B = torch.tensor([True, True, True, True, True, False])
    scores = (scale * normalize(first_BD, dim=1) @ normalize(second_BD, dim=1).T).numpy()
    losses = []
    for matrix in (scores, scores.T):
        for row in range(5):
            rivals = [j for j in range(5) if j == row or groups_B[j] != groups_B[row]]
            losses.append(np.log(np.exp(matrix[row, rivals]).sum()) - matrix[row, row])
    found = info_nce(first_BD, second_BD, scale, groups_B=groups_B, present_B=present_B)
    assert found.item() == pytest.approx(np.mean(losses))
    nobody = info_nce(first_BD.requires_grad_(), second_BD, scale, present_B=torch.zeros(6, dtype=torch.bool))
    nobody.backward()
    assert nobody.item() == 0 and first_BD.grad is not None and torch.equal(first_BD.grad, torch.zeros(6, DIM).double())


def test_three_views_are_the_mean_over_their_pairs() -> None:
    views, scale = [drawn(BATCH, DIM, seed=seed) for seed in range(3)], torch.tensor(4.0)
    present = [torch.ones(BATCH, dtype=torch.bool) for _ in range(3)]
    expected = (
        info_nce(views[0], views[1], scale) + info_nce(views[0], views[2], scale) + info_nce(views[1], views[2], scale)
    ) / 3
    torch.testing.assert_close(info_nce_of_all(views, present, scale), expected)


def test_the_temperature_starts_where_it_is_told_and_keeps_its_bounds() -> None:
    temperature = Temperature(0.07)
    assert temperature().item() == pytest.approx(1 / 0.07)
    for value, bound in ((9.0, 100.0), (-3.0, 1.0)):
        with torch.no_grad():
            temperature.log_scale.fill_(value)
        assert temperature().item() == pytest.approx(bound)


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


def test_several_losses_become_one() -> None:
    losses = {"word": torch.tensor(2.0), "pitch": torch.tensor(3.0)}
    assert weighted_sum(losses, {"word": 1.0, "pitch": 0.5}).item() == 3.5
    with pytest.raises(ConfigError, match="weights are of"):
        weighted_sum(losses, {"word": 1.0})
    joint = UncertaintyWeights(["word", "pitch"], regressions=["pitch"])
    with torch.no_grad():
        joint.log_variance_T.copy_(torch.tensor([0.4, -0.6]))
    expected = math.exp(-0.4) * 2 + 0.2 + math.exp(0.6) * 3 / 2 - 0.3
    assert joint(losses).item() == pytest.approx(expected)
    with pytest.raises(ConfigError, match="not among the tasks"):
        UncertaintyWeights(["word"], regressions=["pitch"])


def test_gradients_are_those_of_the_formulas() -> None:
    check = torch.autograd.gradcheck
    labels_BK = drawn(BATCH, CLASSES, seed=4) > 0
    mean_BQ, aims_BQ = drawn(BATCH, QUANTITIES).requires_grad_(), drawn(BATCH, QUANTITIES, seed=1)
    raw_BP = drawn(BATCH, num_covariance_outputs(QUANTITIES, full=True), seed=2).requires_grad_()
    logits_BK, groups_B = drawn(BATCH, CLASSES).requires_grad_(), torch.arange(BATCH) // 2
    assert check(lambda x: multilabel_cross_entropy(x, labels_BK), logits_BK)
    assert check(
        lambda m, r: gaussian_likelihood(m, cholesky_factor(r, QUANTITIES, full=True), aims_BQ), (mean_BQ, raw_BP)
    )
    first_BD, second_BD = drawn(BATCH, DIM).requires_grad_(), drawn(BATCH, DIM, seed=1).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert check(lambda a, b, s: info_nce(a, b, s, groups_B=groups_B), (first_BD, second_BD, scale))
    assert check(lambda r, m: discriminator_loss(r[:, 0], m[:, 0]), (logits_BK, first_BD))
    assert check(lambda m: generator_loss(m[:, 0], Game.MINIMAX), first_BD)
