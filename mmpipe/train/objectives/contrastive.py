"""Modalities in one space: a clip's two views should find each other among those of all clips.

Axes: B clips of this process, A clips of all processes, D dimensions of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

MAX_LOG_SCALE = math.log(100.0)  # as CLIP bounds it: past it a few hard pairs are all that counts


class Temperature(nn.Module):
    """A learnt 1 / tau, kept between 1 and 100 (Radford et al. 2021 start at tau = 0.07)."""

    def __init__(self, tau: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def forward(self) -> Tensor:
        """Return the scale of similarities."""
        return self.log_scale.clamp(0.0, MAX_LOG_SCALE).exp()


def info_nce(
    first_BD: Tensor,
    second_BD: Tensor,
    scale: Tensor,
    *,
    groups_B: Tensor | None = None,
    present_B: Tensor | None = None,
) -> Tensor:
    """Return the symmetric InfoNCE loss of pairs, a scalar (van den Oord et al. 2018, CLIP 2021).

    Mean over both directions of -log exp(s_ii / tau) / sum_j exp(s_ij / tau), s the cosine. Clips of one group (a
    duplicate, the same sentence) are no negatives of each other; rows that are not `present` take no part.
    In a distributed run the negatives are those of all processes, and gradients flow back into each of them.
    """
    batch = len(first_BD)
    here = _rank() * batch  # all processes hold equally many
    present_B = torch.ones(batch, dtype=torch.bool, device=first_BD.device) if present_B is None else present_B
    groups_B = torch.arange(here, here + batch, device=first_BD.device) if groups_B is None else groups_B
    views = [normalize(view_BD, dim=1) for view_BD in (first_BD, second_BD)]
    all_views = [gather_with_gradient(view_BD) for view_BD in views]
    groups_A, present_A = gather_constant(groups_B), gather_constant(present_B)
    own_B = torch.arange(here, here + batch, device=first_BD.device)
    barred_BA = (groups_B[:, None] == groups_A[None]) | ~present_A[None]
    barred_BA = barred_BA.scatter(1, own_B[:, None], False)
    loss = first_BD.new_zeros(())
    for view_BD, others_AD in zip(views, reversed(all_views), strict=True):
        scores_BA = (scale * view_BD @ others_AD.T).masked_fill(barred_BA, float("-inf"))
        # A row that takes no part still needs finite numbers: its gradient is zero, not NaN.
        losses_B = cross_entropy(torch.where(present_B[:, None], scores_BA, 0.0), own_B, reduction="none")
        loss = loss + torch.where(present_B, losses_B, 0.0).sum() / present_A.sum().clamp(min=1) * _world() / 2
    return loss


def info_nce_of_all(
    views: Sequence[Tensor], present: Sequence[Tensor], scale: Tensor, groups_B: Tensor | None = None
) -> Tensor:
    """Return the mean InfoNCE over all pairs of modalities, each over the clips that have both."""
    losses = [
        info_nce(views[i], views[j], scale, groups_B=groups_B, present_B=present[i] & present[j])
        for i, j in combinations(range(len(views)), 2)
    ]
    return torch.stack(losses).mean()


def gather_with_gradient(rows_BD: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; gradients go back to whom they belong to.

    `torch.distributed.all_gather` alone cuts them off: the loss is right and the training is not.
    """
    if _world() == 1:
        return rows_BD
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(rows_BD))


def gather_constant(values_B: Tensor) -> Tensor:
    """Return values without a gradient of all processes."""
    if _world() == 1:
        return values_B
    parts = [torch.empty_like(values_B) for _ in range(_world())]
    torch.distributed.all_gather(parts, values_B.contiguous())
    return torch.cat(parts)


def _world() -> int:
    return torch.distributed.get_world_size() if _is_distributed() else 1


def _rank() -> int:
    return torch.distributed.get_rank() if _is_distributed() else 0


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
