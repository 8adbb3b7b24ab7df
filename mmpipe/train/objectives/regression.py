"""Numbers as targets, and how sure a network is of them.

Axes: B clips, Q quantities.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def squared_error(mean_BQ: Tensor, targets_BQ: Tensor) -> Tensor:
    """Return the mean squared error over the quantities, [B]."""
    return (mean_BQ - targets_BQ).square().mean(1)


def gaussian_likelihood(mean_BQ: Tensor, factor_BQQ: Tensor, targets_BQ: Tensor) -> Tensor:
    """Return -log N(t; mu, L L^T), [B]: (Q log 2 pi + |L^-1 (t - mu)|^2) / 2 + sum_q log L_qq.

    A multivariate normal as in Dorta et al. 2018; with a diagonal factor that of Nix and Weigend 1994.
    """
    white_BQ1 = torch.linalg.solve_triangular(factor_BQQ, (targets_BQ - mean_BQ)[:, :, None], upper=False)
    log_det_B = factor_BQQ.diagonal(dim1=1, dim2=2).log().sum(1)
    return 0.5 * (mean_BQ.shape[1] * math.log(2 * math.pi) + white_BQ1.square().sum((1, 2))) + log_det_B
