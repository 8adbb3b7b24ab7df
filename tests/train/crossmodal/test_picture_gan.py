from __future__ import annotations

import pytest
import torch

from mmpipe.errors import ConfigError
from mmpipe.train.crossmodal.picture_gan import (
    PictureGame,
    PictureMatch,
    make_pictures,
    train_pictures,
)
from mmpipe.train.objectives.adversarial import Game, gradient_penalty

SIDES = (6, 5)
SMALL = PictureGame(width=32, noise=4, batch_clips=16, steps=5)


def pairs(num_clips: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """A condition of two numbers; the picture is light on the left where the first is the larger, else on the right."""
    generator = torch.Generator().manual_seed(0)
    kind_N = torch.randint(2, (num_clips,), generator=generator)
    condition_NC = (
        torch.nn.functional.one_hot(kind_N, 2) * 2.0 - 1 + 0.1 * torch.randn(num_clips, 2, generator=generator)
    )
    picture_NHW = 0.1 * torch.rand(num_clips, *SIDES, generator=generator)
    picture_NHW[kind_N == 0, :, :2] += 0.8
    picture_NHW[kind_N == 1, :, 3:] += 0.8
    return condition_NC, picture_NHW


@pytest.mark.parametrize("game", list(Game))
def test_a_step_reaches_every_number_of_both_players(game):
    torch.manual_seed(0)
    condition_NC, picture_NHW = pairs()
    match = PictureMatch(2, SIDES, PictureGame(width=32, noise=4, game=game))
    match.play(picture_NHW, condition_NC)
    for player in (match.generator, match.judge):
        for name, parameter in player.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_game_teaches_what_belongs_together():
    condition_NC, picture_NHW = pairs()
    settings = PictureGame(width=32, noise=4, batch_clips=32, steps=250, condition_noise=0.1)
    generator, losses = train_pictures(condition_NC, picture_NHW, settings, seed=0)
    made_NHW = make_pictures(generator, torch.tensor([[1.0, -1.0]] * 20 + [[-1.0, 1.0]] * 20), seed=1)
    left_N, right_N = made_NHW[:, :, :2].mean((1, 2)), made_NHW[:, :, 3:].mean((1, 2))
    assert (left_N > right_N)[:20].float().mean() > 0.9 and (left_N < right_N)[20:].float().mean() > 0.9
    assert len(losses) == 250 and made_NHW.shape == (40, *SIDES)
    assert made_NHW.min() >= 0 and made_NHW.max() <= 1


def test_the_same_seed_gives_the_same_pictures():
    condition_NC, picture_NHW = pairs()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    made = [
        make_pictures(train_pictures(condition_NC, picture_NHW, SMALL, seed)[0], condition_NC, 7) for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    generator, _ = train_pictures(condition_NC, picture_NHW, SMALL, 0)
    assert not torch.equal(make_pictures(generator, condition_NC, 8), made[0])


def test_the_judges_penalty_is_half_the_squared_slope():
    torch.manual_seed(0)
    condition_NC, picture_NHW = pairs(4)
    judge = PictureMatch(2, SIDES, SMALL).judge
    found = gradient_penalty(lambda rows: judge(rows, condition_NC), picture_NHW)
    rows_NHW = picture_NHW.clone().requires_grad_()
    slopes = [torch.autograd.grad(judge(rows_NHW, condition_NC)[n], rows_NHW)[0][n] for n in range(4)]
    torch.testing.assert_close(found, 0.5 * torch.stack(slopes).square().sum((1, 2)).mean())


def test_what_cannot_be_is_refused():
    condition_NC, picture_NHW = pairs(4)
    for conditions, pictures in ((condition_NC[:3], picture_NHW), (condition_NC, picture_NHW[:, 0])):
        with pytest.raises(ConfigError, match="one grey picture"):
            train_pictures(conditions, pictures, SMALL, 0)
    with pytest.raises(ConfigError, match="wrong_share must be in"):
        PictureGame(wrong_share=1.0)
