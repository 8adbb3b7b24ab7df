"""A generator against a judge, for what is missing: G guesses it from what is there, D tells guesses from the truth.

G minimises lambda |h - G(h_kept, p, z)|_1 over hidden numbers that are known + its part of the game; D minimises
-log D(h) - log(1 - D(G)) + (gamma / 2) |grad D|^2 on real clips, where D sees what was kept and what was hidden.
Goodfellow et al. 2014 (the game), Mirza and Osindero 2014 (conditions), Pathak et al. 2016 (a distance beside the
game), Yoon et al. 2018 (missing values), Mescheder et al. 2018 (R1).
What is kept of G is a running mean of its weights, which errs less than the last ones (Yazici et al. 2019).
Axes: B clips, M modalities, F numbers of all modalities, Z noise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmpipe.fusion.imputers.base import spread
from mmpipe.fusion.imputers.generator import SLOPE, Generator, GeneratorImputer
from mmpipe.train.deterministic import deterministic, reseed
from mmpipe.train.imputation.observed import Observed
from mmpipe.train.imputation.simple import fit_mean
from mmpipe.train.objectives.adversarial import Game, discriminator_loss, generator_loss, gradient_penalty

HIDDEN, NOISE, DRAWS = 128, 16, 8
BATCH_CLIPS = 128
BETAS = (0.5, 0.99)  # less memory than usual: the other player moves (Radford et al. 2016)
RATE = 1e-3
MEAN_DECAY = 0.99  # of the running mean of G


@dataclass(frozen=True, slots=True, kw_only=True)
class GanSettings:
    """How the game is played."""

    game: Game = Game.NON_SATURATING
    distance_weight: float = 300.0  # lambda
    game_weight: float = 1.0  # of the game in what G minimises; 0: there is no judge
    penalty: float = 1.0  # gamma of R1
    dropout: float = 0.5  # of the generator
    input_noise: float = 0.5  # deviation of what is added to what G is given: clips are few
    steps: int = 800

    def told(self) -> dict[str, float | str]:
        """Return what was chosen, by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Judge(nn.Module):
    """D(h, kept, hidden) -> logit that the hidden numbers are real, [B]."""

    def __init__(self, widths: tuple[int, ...], hidden: int = HIDDEN) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(sum(widths) + 2 * len(widths), hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, 1),
        )

    def forward(self, x_BF: Tensor, kept_BM: Tensor, hidden_BM: Tensor) -> Tensor:
        """Return a logit per clip."""
        out_B1: Tensor = self.layers(torch.cat([x_BF, kept_BM.to(x_BF.dtype), hidden_BM.to(x_BF.dtype)], 1))
        return out_B1[:, 0]


class Match:
    """Both players, their optimisers, and one step of the game."""

    def __init__(self, widths: tuple[int, ...], settings: GanSettings) -> None:
        self.widths, self.settings = widths, settings
        self.generator = Generator(widths, hidden=HIDDEN, noise=NOISE, dropout=settings.dropout)
        self.mean = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        self.judge = Judge(widths)
        self.steps = 0
        self.of_generator = torch.optim.Adam(self.generator.parameters(), RATE, betas=BETAS)
        self.of_judge = torch.optim.Adam(self.judge.parameters(), RATE, betas=BETAS)

    def play(self, x_BF: Tensor, present_BM: Tensor) -> None:
        """Hide something of every clip, and let first D, then G learn from it."""
        kept_BM = draw_kept(present_BM)
        hidden_BM = present_BM & ~kept_BM
        hidden_BF, kept_BF = spread(hidden_BM, self.widths), spread(kept_BM, self.widths)
        known_BF = torch.where(kept_BF, x_BF + self.settings.input_noise * torch.randn_like(x_BF), 0.0)
        guess_BF = self.generator(known_BF, kept_BM, torch.randn(len(x_BF), NOISE))

        def judged(rows_BF: Tensor) -> Tensor:
            logits_B: Tensor = self.judge(torch.where(hidden_BF, rows_BF, known_BF), kept_BM, hidden_BM)
            return logits_B

        distance = self.settings.distance_weight * (guess_BF - x_BF).abs()[hidden_BF].mean()
        if self.settings.game_weight:
            loss = discriminator_loss(judged(x_BF), judged(guess_BF.detach()))
            _descend(self.of_judge, loss + self.settings.penalty * gradient_penalty(judged, x_BF))
            distance = distance + self.settings.game_weight * generator_loss(judged(guess_BF), self.settings.game)
        _descend(self.of_generator, distance)
        self._average()

    def _average(self) -> None:
        """Take G's weights into their mean: m becomes d m + (1 - d) w, d growing to its value."""
        self.steps += 1
        decay = min(MEAN_DECAY, (1 + self.steps) / (10 + self.steps))
        for mean, weight in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(weight.detach(), 1 - decay)


def fit_gan(
    data: Observed,
    settings: GanSettings,
    seed: int,
    *,
    every: int = 0,
    look: Callable[[int, GeneratorImputer], None] | None = None,
) -> GeneratorImputer:
    """Play `settings.steps` steps on the clips that have two modalities; the same arguments give the same numbers.

    Every so many steps `look` is shown the generator as it stands.
    """
    rows = torch.from_numpy(data.pairs())
    assert len(rows), "there is a clip with two modalities: see `fit_imputer`"
    # What G adds is to their own mean: else a network that says 0 would tell of clips that were held back, whose mean
    # is in the preprocessing.
    mean_F = fit_mean(data).mean_F
    x_NF = data.x_NF - mean_F
    with deterministic(1):
        reseed(seed, "imputer")
        match = Match(data.widths, settings)
        noise_DZ = torch.randn(DRAWS, NOISE)
        for step in range(1, settings.steps + 1):
            drawn = rows[torch.randint(len(rows), (min(BATCH_CLIPS, len(rows)),))]
            match.play(x_NF[drawn], data.present_NM[drawn])
            if look and step % every == 0:
                look(step, as_imputer(match.mean, data.widths, noise_DZ, mean_F))
        return as_imputer(match.mean, data.widths, noise_DZ, mean_F)


def as_imputer(generator: Generator, widths: tuple[int, ...], noise_DZ: Tensor, mean_F: Tensor) -> GeneratorImputer:
    """Return a generator held still."""
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, then overwritten
        imputer = GeneratorImputer(widths, hidden=HIDDEN, noise=NOISE, draws=len(noise_DZ))
    imputer.generator.load_state_dict(generator.state_dict())  # copies
    imputer.noise_DZ.copy_(noise_DZ)
    imputer.mean_F.copy_(mean_F)
    return imputer.eval()


def draw_kept(present_BM: Tensor) -> Tensor:
    """Draw which modalities of each clip are kept: at least one is, and at least one of two that are there is not."""
    chance_BM = torch.rand(present_BM.shape)
    first_B = torch.where(present_BM, chance_BM, -1.0).argmax(1)  # always kept
    last_B = torch.where(present_BM, chance_BM, 2.0).argmin(1)  # never, but where it is the only one
    kept_BM = present_BM & (torch.rand(present_BM.shape) < 0.5)
    kept_BM.scatter_(1, last_B[:, None], value=False)
    return kept_BM.scatter(1, first_B[:, None], value=True)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
