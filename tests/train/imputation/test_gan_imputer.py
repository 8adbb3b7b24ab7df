from __future__ import annotations

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

sys.path.insert(0, str(Path(__file__).parent))

from made_clips import WIDTHS, bent

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.registry import make_imputer
from mmpipe.fusion.imputers.spec import ImputerSpec
from mmpipe.train.imputation.gan import GanSettings, Judge, Match, draw_kept, fit_gan
from mmpipe.train.objectives.adversarial import Game, gradient_penalty

FEW = GanSettings(steps=6)


def numbers(imputer) -> bytes:
    return safetensors.torch.save(dict(imputer.state_dict()))


@pytest.mark.parametrize("game", list(Game))
def test_a_step_reaches_every_number_of_both_players(game):
    torch.manual_seed(0)
    data = bent(64)
    match = Match(WIDTHS, GanSettings(game=game, dropout=0.0))
    match.play(data.x_NF, data.present_NM)
    for player in (match.generator, match.judge):
        for name, parameter in player.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_first_mean_of_the_generator_follows_its_weights():
    torch.manual_seed(0)
    match = Match(WIDTHS, FEW)
    before = match.generator.first.weight.detach().clone()
    data = bent(32)
    match.play(data.x_NF, data.present_NM)
    now, decay = match.generator.first.weight.detach(), 2 / 11
    torch.testing.assert_close(match.mean.first.weight, decay * before + (1 - decay) * now)


def test_the_penalty_is_half_the_squared_slope_of_the_judge_on_what_was_hidden():
    torch.manual_seed(0)
    judge, data = Judge(WIDTHS), bent(5)
    kept_BM = torch.tensor([[True, False]]).expand(5, -1)
    hidden_BF = torch.tensor([False] * WIDTHS[0] + [True] * WIDTHS[1])

    def judged(rows_BF: torch.Tensor) -> torch.Tensor:
        return judge(torch.where(hidden_BF, rows_BF, data.x_NF), kept_BM, ~kept_BM)

    found = gradient_penalty(judged, data.x_NF)
    step, squares = 1e-3, torch.zeros(5)
    for column in range(sum(WIDTHS)):
        apart_F = step * torch.eye(sum(WIDTHS))[column]
        slope_B = (judged(data.x_NF + apart_F) - judged(data.x_NF - apart_F)) / (2 * step)
        squares += slope_B.detach().square()
    torch.testing.assert_close(found, 0.5 * squares.mean(), rtol=1e-2, atol=1e-6)


def test_something_is_kept_and_something_is_hidden():
    torch.manual_seed(0)
    present_BM = torch.rand(4000, 3) < 0.7
    kept_BM = draw_kept(present_BM)
    two_B, one_B = present_BM.sum(1) >= 2, present_BM.sum(1) == 1
    assert not (kept_BM & ~present_BM)[present_BM.any(1)].any()
    hidden_B = (present_BM & ~kept_BM).any(1)
    assert kept_BM[two_B].any(1).all() and hidden_B[two_B].all()
    assert kept_BM[one_B].any(1).all() and not hidden_B[one_B].any()
    shares_M = kept_BM[present_BM.all(1)].float().mean(0)
    assert (shares_M - 0.5).abs().max() < 0.05, "no modality is favoured"


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_random_state_alone():
    data = bent(40)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = fit_gan(data, FEW, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert numbers(fit_gan(data, FEW, seed=3)) == numbers(first) != numbers(fit_gan(data, FEW, seed=4))


def test_looking_changes_nothing_and_the_last_look_is_the_result():
    data, seen = bent(40), []
    looked = fit_gan(data, FEW, 0, every=3, look=lambda step, imputer: seen.append((step, numbers(imputer))))
    assert numbers(looked) == numbers(fit_gan(data, FEW, 0)) == seen[-1][1]
    assert [step for step, _ in seen] == [3, 6]


def test_saved_and_loaded_it_guesses_the_same():
    data = bent(40)
    imputer = fit_gan(data, FEW, 0)
    again = make_imputer(ImputerSpec.from_json(imputer.spec.to_json()), WIDTHS)
    again.load_state_dict(safetensors.torch.load(numbers(imputer)))
    kept_BM = torch.tensor([[True, False]]).expand(40, -1)
    assert imputer.spec.method is Imputation.GAN
    assert torch.equal(again.estimate(data.x_NF, kept_BM), imputer.estimate(data.x_NF, kept_BM))


def test_a_generator_that_has_learnt_nothing_guesses_the_mean():
    """Its answer is added to the mean of its own clips, so it cannot tell of others by saying 0."""
    data = bent(40)
    imputer = fit_gan(data, GanSettings(steps=0), 0)
    for part in imputer.generator.parameters():
        part.zero_()
    for buffer in (imputer.generator.last.weight, imputer.generator.last.bias):
        buffer.zero_()
    guess_BF = imputer.estimate(data.x_NF, torch.tensor([[True, False]]).expand(40, -1))
    torch.testing.assert_close(guess_BF[0], data.x_NF.mean(0), rtol=1e-4, atol=1e-5)
