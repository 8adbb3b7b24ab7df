"""Small grey pictures from a vector of another modality, by a conditional adversarial game.

min_G max_D E[log D(x, c)] + w E[log(1 - D(x, c'))] + (1 - w) E[log(1 - D(G(c, z), c))] with clips (x, c), and a
condition c' of another clip: without it D need not look at c. Goodfellow et al. 2014 (the game), Mirza and Osindero
2014 (conditions), Reed et al. 2016 (the wrong condition), Miyato and Koyama 2018 (D's inner product with c), Mescheder
et al. 2018 (R1). No label takes part: that a picture fits is known from pairs alone.
Axes: B clips, C numbers of the condition, Z noise, W width, H and W the sides of a picture.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.train.deterministic import deterministic, reseed
from mmpipe.train.objectives.adversarial import Game, discriminator_loss, generator_loss, gradient_penalty

SLOPE = 0.2  # of the leaky rectifier below zero
BETAS = (0.5, 0.99)  # less memory than usual: the other player moves (Radford et al. 2016)
MEAN_DECAY = 0.995  # of the running mean of G
BATCH_MADE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGame:
    """How the game is played."""

    game: Game = Game.MINIMAX
    steps: int = 2000
    batch_clips: int = 64
    width: int = 256  # of the hidden layers of G; D's are narrower
    noise: int = 16
    rate: float = 1e-3
    penalty: float = 1.0  # gamma of R1
    wrong_share: float = 0.5  # w: of what D calls made, real pictures with another clip's condition
    condition_noise: float = 0.7  # deviation of what is added to the conditions: clips are few

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_share < 1:
            raise ConfigError(f"wrong_share must be in [0, 1), got {self.wrong_share}: what G makes must be judged too")


class PictureGenerator(nn.Module):
    """G(c, z): a picture of values in [0, 1] per condition."""

    def __init__(self, num_conditions: int, sides_px: tuple[int, int], settings: PictureGame) -> None:
        super().__init__()
        self.sides_px, self.noise = sides_px, settings.noise
        self.layers = nn.Sequential(
            nn.Linear(num_conditions + settings.noise, settings.width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(settings.width, settings.width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(settings.width, sides_px[0] * sides_px[1]),
        )

    def forward(self, condition_BC: Tensor, noise_BZ: Tensor) -> Tensor:
        """Return pictures, [B, H, W]."""
        picture_BX: Tensor = self.layers(torch.cat([condition_BC, noise_BZ], 1)).sigmoid()
        return picture_BX.unflatten(1, self.sides_px)


class PictureJudge(nn.Module):
    """D(x, c): a logit that the picture is real and belongs to the condition, a(f(x)) + <f(x), V(c)> / W."""

    def __init__(self, num_conditions: int, sides_px: tuple[int, int], settings: PictureGame) -> None:
        super().__init__()
        wide, width = 3 * settings.width // 4, 3 * settings.width // 8
        self.look = nn.Sequential(
            nn.Linear(sides_px[0] * sides_px[1], wide), nn.LeakyReLU(SLOPE), nn.Linear(wide, width), nn.LeakyReLU(SLOPE)
        )
        self.real = nn.Linear(width, 1)
        self.fits = nn.Sequential(nn.Linear(num_conditions, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width))

    def forward(self, picture_BHW: Tensor, condition_BC: Tensor) -> Tensor:
        """Return a logit per pair, [B]."""
        seen_BW = self.look(2 * picture_BHW.flatten(1) - 1)
        out_B: Tensor = self.real(seen_BW)[:, 0] + (seen_BW * self.fits(condition_BC)).mean(1)
        return out_B


class PictureMatch:
    """Both players, their optimisers, and one step of the game."""

    def __init__(self, num_conditions: int, sides_px: tuple[int, int], settings: PictureGame) -> None:
        self.settings = settings
        self.generator = PictureGenerator(num_conditions, sides_px, settings)
        self.judge = PictureJudge(num_conditions, sides_px, settings)
        self.mean = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        self.of_generator = torch.optim.Adam(self.generator.parameters(), settings.rate, betas=BETAS)
        self.of_judge = torch.optim.Adam(self.judge.parameters(), settings.rate, betas=BETAS)

    def play(self, picture_BHW: Tensor, condition_BC: Tensor) -> tuple[float, float]:
        """Let first D, then G learn from a batch; return what each of them minimised."""
        settings = self.settings
        condition_BC = condition_BC + settings.condition_noise * torch.randn_like(condition_BC)
        made_BHW = self.generator(condition_BC, torch.randn(len(condition_BC), settings.noise))
        real_B = self.judge(picture_BHW, condition_BC)
        loss = (1 - settings.wrong_share) * discriminator_loss(real_B, self.judge(made_BHW.detach(), condition_BC))
        if settings.wrong_share:
            wrong_B = self.judge(picture_BHW, condition_BC.roll(1, 0))
            loss = loss + settings.wrong_share * discriminator_loss(real_B, wrong_B)
        loss = loss + settings.penalty * gradient_penalty(lambda rows: self.judge(rows, condition_BC), picture_BHW)
        _descend(self.of_judge, loss)
        game = generator_loss(self.judge(made_BHW, condition_BC), settings.game)
        _descend(self.of_generator, game)
        with torch.no_grad():
            for mean, now in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(now, 1 - MEAN_DECAY)
        return loss.item(), game.item()


def train_pictures(
    condition_NC: Tensor, picture_NHW: Tensor, settings: PictureGame, seed: int
) -> tuple[PictureGenerator, list[tuple[float, float]]]:
    """Play the game on pairs; return the running mean of G, and the losses of D and G by step.

    Conditions are standardised, pictures in [0, 1]; the same arguments give the same numbers.
    """
    if picture_NHW.ndim != 3 or len(picture_NHW) != len(condition_NC) or not len(condition_NC):
        raise ConfigError(
            f"one grey picture [H, W] is needed per condition, got pictures {tuple(picture_NHW.shape)} and conditions "
            f"{tuple(condition_NC.shape)}"
        )
    height_px, width_px = picture_NHW.shape[1:]
    with deterministic(1):
        reseed(seed, "pictures")
        match = PictureMatch(condition_NC.shape[1], (height_px, width_px), settings)
        losses = []
        for _ in range(settings.steps):
            drawn = torch.randint(len(condition_NC), (settings.batch_clips,))
            losses.append(match.play(picture_NHW[drawn], condition_NC[drawn]))
    return match.mean.eval(), losses


def make_pictures(generator: PictureGenerator, condition_NC: Tensor, seed: int) -> Tensor:
    """Return a picture for each condition, [N, H, W] in [0, 1]; what is drawn depends on the seed alone."""
    noise_NZ = torch.randn(len(condition_NC), generator.noise, generator=torch.Generator().manual_seed(seed))
    starts = range(0, len(condition_NC), BATCH_MADE)
    with torch.no_grad():
        parts = [generator(condition_NC[s : s + BATCH_MADE], noise_NZ[s : s + BATCH_MADE]) for s in starts]
    return torch.cat(parts)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
