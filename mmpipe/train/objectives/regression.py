"""Numbers as targets, and how sure a network is of them.

Axes: B clips, Q quantities, P = Q + Q (Q - 1) / 2 numbers that describe a lower triangle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

MIN_DEVIATION = 1e-3  # of a standardised target: a network that is surer than this is wrong about its sureness


def squared_error(mean_BQ: Tensor, targets_BQ: Tensor) -> Tensor:
    """Return the mean squared error over the quantities, [B]."""
    return (mean_BQ - targets_BQ).square().mean(1)


def num_covariance_outputs(quantities: int, *, full: bool) -> int:
    """Return how many outputs describe the covariance of so many quantities."""
    return quantities * (quantities + 1) // 2 if full else quantities


def cholesky_factor(raw_BP: Tensor, quantities: int, *, full: bool) -> Tensor:
    """Return L [B, Q, Q], lower triangular with diagonal softplus(raw) + a floor, so that Sigma = L L^T is positive.

    The first Q outputs are the diagonal's, the others fill the rows below it in order.
    """
    diagonal_BQ = softplus(raw_BP[:, :quantities]) + MIN_DEVIATION
    factor_BQQ = torch.diag_embed(diagonal_BQ)
    if not full:
        return factor_BQQ
    rows, columns = torch.tril_indices(quantities, quantities, -1, device=raw_BP.device)
    below_BQQ = torch.zeros_like(factor_BQQ).index_put(
        (torch.arange(len(raw_BP), device=raw_BP.device)[:, None], rows[None], columns[None]), raw_BP[:, quantities:]
    )
    return factor_BQQ + below_BQQ


def gaussian_likelihood(mean_BQ: Tensor, factor_BQQ: Tensor, targets_BQ: Tensor) -> Tensor:
    """Return -log N(t; mu, L L^T), [B]: (Q log 2 pi + |L^-1 (t - mu)|^2) / 2 + sum_q log L_qq.

    A multivariate normal as in Dorta et al. 2018; with a diagonal factor that of Nix and Weigend 1994.
    """
    white_BQ1 = torch.linalg.solve_triangular(factor_BQQ, (targets_BQ - mean_BQ)[:, :, None], upper=False)
    log_det_B = factor_BQQ.diagonal(dim1=1, dim2=2).log().sum(1)
    return 0.5 * (mean_BQ.shape[1] * math.log(2 * math.pi) + white_BQ1.square().sum((1, 2))) + log_det_B


def is_covered(mean_BQ: Tensor, factor_BQQ: Tensor, targets_BQ: Tensor, *, share: float = 0.9) -> Tensor:
    """Return which targets lie in the central interval of their own quantity, bool [B, Q]."""
    deviation_BQ = factor_BQQ.square().sum(2).sqrt()
    reach = math.sqrt(2) * torch.erfinv(torch.tensor(share, dtype=torch.float64)).item()
    return (targets_BQ - mean_BQ).abs() <= reach * deviation_BQ
