"""A generator that was trained against a judge: what it draws for a missing modality, on average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer, hold_still, spread
from mmpipe.fusion.imputers.spec import ImputerSpec

SLOPE = 0.2  # of the leaky rectifier below zero, as Radford et al. 2016 have it


class Generator(nn.Module):
    """G(h_present, p, noise) -> h: three layers on the numbers that are there, which those are, and noise [B, Z]."""

    def __init__(self, widths: Sequence[int], *, hidden: int, noise: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(sum(widths) + len(widths) + noise, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, sum(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BF: Tensor, present_BM: Tensor, noise_BZ: Tensor) -> Tensor:
        """Return a guess of every number, [B, F]."""
        x_BH = self.first(torch.cat([x_BF, present_BM.to(x_BF.dtype), noise_BZ], 1))
        x_BH = self.dropout(nn.functional.leaky_relu(x_BH, SLOPE))
        x_BH = self.dropout(nn.functional.leaky_relu(self.second(x_BH), SLOPE))
        out_BF: Tensor = self.last(x_BH)
        return out_BF


class GeneratorImputer(Imputer):
    """h_missing = mu + mean over d of G(h_present - mu, p, z_d), with draws z_1..z_D that were made once.

    The generator is that of a conditional adversarial game (Mirza and Osindero 2014; for missing values Yoon et al.
    2018). Its mean over fixed draws makes the answer about a clip the same each time.
    """

    noise_DZ: Tensor
    mean_F: Tensor  # mu: of the clips that it learnt from

    def __init__(self, widths: Sequence[int], *, hidden: int, noise: int, draws: int) -> None:
        super().__init__(widths)
        sizes = {"hidden": hidden, "noise": noise, "draws": draws}
        self.spec = ImputerSpec(method=Imputation.GAN, sizes=sizes)
        self.generator = Generator(widths, hidden=hidden, noise=noise)
        hold_still(self.generator)
        self.register_buffer("noise_DZ", torch.zeros(draws, noise))
        self.register_buffer("mean_F", torch.zeros(sum(widths)))

    def estimate(self, x_BF: Tensor, present_BM: Tensor) -> Tensor:
        """Return the mean draw for each clip, [B, F]."""
        known_BF = torch.where(spread(present_BM, self.widths), x_BF - self.mean_F, 0.0)
        guesses = [
            self.generator(known_BF, present_BM, noise_Z.expand(x_BF.shape[0], -1))  # `len` would fix it in a graph
            for noise_Z in self.noise_DZ.unbind(0)
        ]
        return self.mean_F + torch.stack(guesses).mean(0)
