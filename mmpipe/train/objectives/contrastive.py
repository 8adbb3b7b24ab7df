"""Modalities in one space: a clip's two views should find each other among those of all clips.

Axes: B clips of this process, A clips of all processes, D dimensions of the shared space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

Pair = tuple[str, str]


def info_nce(
    first_BD: Tensor,
    second_BD: Tensor,
    scale: Tensor,
    *,
    groups_B: Tensor | None = None,
    present_B: Tensor | None = None,
    together: bool = True,
) -> Tensor:
    """Return the symmetric InfoNCE loss of each pair, [B] (van den Oord et al. 2018, CLIP 2021).

    Mean over both directions of -log exp(s_ii / tau) / sum_j exp(s_ij / tau), s the cosine. Clips of one group (a
    duplicate, the same sentence) are no negatives of each other; rows that are not `present` take no part, at loss 0.

    Processes that train `together` share their negatives and may hold unequal numbers of clips; gradients flow back
    into each of them. The sum of losses over clips and processes is that of one big batch, and so is the sum of
    gradients. All of them must call it, one without clips too.
    """
    sizes = _sizes(first_BD) if together else [len(first_BD)]
    start = sum(sizes[: _rank()]) if len(sizes) > 1 else 0
    own_B = torch.arange(start, start + len(first_BD), device=first_BD.device)
    groups_B = own_B if groups_B is None else groups_B
    present_B = torch.ones_like(own_B, dtype=torch.bool) if present_B is None else present_B
    with torch.autocast(first_BD.device.type, enabled=False):  # 100 times a cosine needs more digits than bfloat16 has
        views = [normalize(_exact(view_BD), dim=1) for view_BD in (first_BD, second_BD)]
        all_views = [_Gathered.apply(view_BD, sizes) for view_BD in views]
        groups_A, present_A = _gathered(groups_B, sizes), _gathered(present_B, sizes)
        is_own_BA = torch.arange(sum(sizes), device=own_B.device)[None] == own_B[:, None]
        barred_BA = ((groups_B[:, None] == groups_A[None]) | ~present_A[None]) & ~is_own_BA
        losses_B = torch.zeros_like(views[0][:, 0])
        for view_BD, others_AD in zip(views, reversed(all_views), strict=True):
            scores_BA = (scale * view_BD @ others_AD.T).masked_fill(barred_BA, float("-inf"))
            # A row that takes no part still needs finite numbers: its gradient is zero, not NaN.
            finite_BA = torch.where(present_B[:, None], scores_BA, 0.0)
            losses_B = losses_B + torch.where(present_B, cross_entropy(finite_BA, own_B, reduction="none"), 0.0) / 2
        return losses_B


def info_nce_of_pairs(
    views: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    pairs: Sequence[Pair],
    scale: Tensor,
    *,
    groups_B: Tensor | None = None,
    together: bool = True,
) -> Tensor:
    """Return the mean InfoNCE [B] over pairs of modalities; a pair is 0 for a clip that lacks one of the two."""
    losses = [
        info_nce(
            views[one],
            views[other],
            scale,
            groups_B=groups_B,
            present_B=present[one] & present[other],
            together=together,
        )
        for one, other in pairs
    ]
    return torch.stack(losses).mean(0)


class _Gathered(torch.autograd.Function):
    """The rows of all processes in the order of their ranks; backward, the sum of all that they say of these rows.

    `torch.distributed.all_gather` alone cuts gradients off: the loss is right and the training is not.
    """

    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        return _gathered(rows_BD, sizes)

    @staticmethod
    def backward(ctx: Any, gradient_AD: Tensor) -> tuple[Tensor, None]:
        if len(ctx.sizes) == 1:
            return gradient_AD, None
        summed_AD = gradient_AD.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed_AD)
        return summed_AD.split(ctx.sizes)[_rank()], None


def _gathered(values_B: Tensor, sizes: list[int]) -> Tensor:
    """Return the values of all processes, which hold so many each; without gradients."""
    if len(sizes) == 1:
        return values_B.clone()
    padded = values_B.new_zeros((max(sizes), *values_B.shape[1:]))
    padded[: len(values_B)] = values_B.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _sizes(rows_BD: Tensor) -> list[int]:
    """Return how many rows every process holds."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [len(rows_BD)]
    mine = torch.tensor([len(rows_BD)], device=rows_BD.device)
    parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, mine)
    return [int(part) for part in parts]


def _rank() -> int:
    return torch.distributed.get_rank()


def _exact(view_BD: Tensor) -> Tensor:
    return view_BD.to(torch.promote_types(view_BD.dtype, torch.float32))
