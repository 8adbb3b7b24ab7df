"""A covariance that a network may give: any numbers make a valid one.

Axes: B clips, Q quantities, P numbers that describe a lower triangle: Q on its diagonal, Q (Q - 1) / 2 below.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

MIN_DEVIATION = 1e-3  # of a standardised target: a network that is surer than this is wrong about its sureness


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
        (torch.arange(raw_BP.shape[0], device=raw_BP.device)[:, None], rows[None], columns[None]),
        raw_BP[:, quantities:],
    )
    return factor_BQQ + below_BQQ
