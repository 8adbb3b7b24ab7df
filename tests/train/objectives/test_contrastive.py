"""InfoNCE against its formula and against cross-entropy, and the temperature that scales it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from mmpipe.fusion.goals.retrieve import Temperature
from mmpipe.train.objectives.contrastive import info_nce, info_nce_of_pairs

BATCH, DIM = 7, 5


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_info_nce_is_cross_entropy_of_similarities() -> None:
    first_BD, second_BD, scale = drawn(BATCH, DIM), drawn(BATCH, DIM, seed=1), torch.tensor(7.0)
    scores_BB = scale * normalize(first_BD, dim=1) @ normalize(second_BD, dim=1).T
    own_B = torch.arange(BATCH)
    expected = (cross_entropy(scores_BB, own_B) + cross_entropy(scores_BB.T, own_B)) / 2
    torch.testing.assert_close(info_nce(first_BD, second_BD, scale).mean(), expected)


def test_equal_similarities_give_the_log_of_the_batch() -> None:
    same_BD = torch.ones(BATCH, DIM, dtype=torch.float64)
    losses_B = info_nce(same_BD, same_BD, torch.tensor(3.0))
    assert losses_B.tolist() == pytest.approx([math.log(BATCH)] * BATCH)


def test_clips_of_one_group_and_absent_ones_are_no_negatives() -> None:
    first_BD, second_BD, scale = drawn(6, DIM), drawn(6, DIM, seed=1), torch.tensor(5.0)
    groups_B = torch.tensor([0, 0, 1, 2, 3, 4])
    present_B = torch.tensor([True, True, True, True, True, False])
    scores = (scale * normalize(first_BD, dim=1) @ normalize(second_BD, dim=1).T).numpy()
    losses_B = np.zeros(6)
    for matrix in (scores, scores.T):
        for row in range(5):
            rivals = [j for j in range(5) if j == row or groups_B[j] != groups_B[row]]
            losses_B[row] += (np.log(np.exp(matrix[row, rivals]).sum()) - matrix[row, row]) / 2
    found_B = info_nce(first_BD, second_BD, scale, groups_B=groups_B, present_B=present_B)
    np.testing.assert_allclose(found_B, losses_B)
    nobody_B = info_nce(first_BD.requires_grad_(), second_BD, scale, present_B=torch.zeros(6, dtype=torch.bool))
    nobody_B.sum().backward()
    assert nobody_B.tolist() == [0] * 6 and first_BD.grad is not None
    assert torch.equal(first_BD.grad, torch.zeros(6, DIM).double())


def test_a_clip_alone_has_nothing_to_be_told_from() -> None:
    assert info_nce(drawn(1, DIM), drawn(1, DIM, seed=1), torch.tensor(5.0)).tolist() == [0]


def test_half_precision_is_computed_with_more_digits() -> None:
    first_BD, second_BD, scale = drawn(BATCH, DIM), drawn(BATCH, DIM, seed=1), torch.tensor(100.0)
    halves = first_BD.bfloat16(), second_BD.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found_B = info_nce(*halves, scale)
    assert found_B.dtype == torch.float32
    torch.testing.assert_close(found_B, info_nce(halves[0].float(), halves[1].float(), scale))


def test_pairs_of_three_views_are_each_pairs_mean() -> None:
    views, scale = {name: drawn(BATCH, DIM, seed=seed) for seed, name in enumerate("abc")}, torch.tensor(4.0)
    present = {name: torch.ones(BATCH, dtype=torch.bool) for name in views}
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    expected_B = sum(info_nce(views[one], views[other], scale) for one, other in pairs) / 3
    torch.testing.assert_close(info_nce_of_pairs(views, present, pairs, scale), expected_B)
    present["c"][0] = False
    assert info_nce_of_pairs(views, present, [("a", "c")], scale)[0] == 0


def test_the_temperature_starts_where_it_is_told_and_keeps_its_bounds() -> None:
    temperature = Temperature(0.07)
    assert temperature().item() == pytest.approx(1 / 0.07)
    for value, bound in ((9.0, 100.0), (-3.0, 1.0)):
        with torch.no_grad():
            temperature.log_scale.fill_(value)
        assert temperature().item() == pytest.approx(bound)
        temperature().backward()  # it stands at the bound now, where a gradient can lead it back
        assert temperature.log_scale.grad is not None and temperature.log_scale.grad.item() > 0


def test_gradients_are_those_of_the_formula() -> None:
    first_BD, second_BD = drawn(BATCH, DIM).requires_grad_(), drawn(BATCH, DIM, seed=1).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    groups_B = torch.arange(BATCH) // 2
    assert torch.autograd.gradcheck(lambda a, b, s: info_nce(a, b, s, groups_B=groups_B), (first_BD, second_BD, scale))
