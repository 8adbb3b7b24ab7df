"""Two networks against each other (Goodfellow et al. 2014): D tells real from made, G makes what D takes for real.

All take logits of D, [B]: sigmoid(logit) is D's belief that a row is real.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import softplus


class Game(StrEnum):
    """What the generator minimises."""

    MINIMAX = "minimax"  # log(1 - D(G)): the game of the paper; its gradient vanishes where D is sure
    NON_SATURATING = "non_saturating"  # -log D(G): the same fixed point, a gradient from the start


def discriminator_loss(real_B: Tensor, made_B: Tensor) -> Tensor:
    """Return -E[log D(x)] - E[log(1 - D(G))]; 2 ln 2 where D says 1/2 of everything."""
    return softplus(-real_B).mean() + softplus(made_B).mean()


def generator_loss(made_B: Tensor, game: Game = Game.NON_SATURATING) -> Tensor:
    """Return E[log(1 - D(G))] or -E[log D(G)]."""
    return -softplus(made_B).mean() if game is Game.MINIMAX else softplus(-made_B).mean()


def gradient_penalty(judge: Callable[[Tensor], Tensor], real_BX: Tensor) -> Tensor:
    """Return E[|grad_x D(x)|^2] / 2 on real rows: R1 of Mescheder et al. 2018, which makes the game converge."""
    rows_BX = real_BX.detach().requires_grad_()
    (slope_BX,) = torch.autograd.grad(judge(rows_BX).sum(), rows_BX, create_graph=True)
    return 0.5 * slope_BX.flatten(1).square().sum(1).mean()
