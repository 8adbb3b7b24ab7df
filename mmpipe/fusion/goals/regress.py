"""One or more numbers, and how sure the network is of them.

Axes: B clips, Q quantities.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import Likelihood, RegressOptions
from mmpipe.fusion.covariance import cholesky_factor, num_covariance_outputs
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec


class Regress(GoalPart):
    """The mean mu [B, Q] and, but for `likelihood = "point"`, the covariance Sigma = L L^T [B, Q, Q].

    The heads give numbers of standardised quantities: (t - mean) / deviation of the training clips, which are kept
    with the network. One head gives mu first, then what L is made of.
    """

    mean_Q: Tensor
    deviation_Q: Tensor

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        likelihood = RegressOptions(**spec.goal_options).likelihood
        self.size = len(spec.classes)
        self.is_sure, self.is_full = likelihood is not Likelihood.POINT, likelihood is Likelihood.FULL
        extra = num_covariance_outputs(self.size, full=self.is_full) if self.is_sure else 0
        self.num_outputs = self.size + extra
        self.register_buffer("mean_Q", torch.zeros(self.size))
        self.register_buffer("deviation_Q", torch.ones(self.size))

    def fit(self, targets_N: np.ndarray) -> None:
        """Take mean and deviation of the training clips' quantities."""
        deviation_Q = targets_N.std(axis=0)
        self.mean_Q.copy_(torch.from_numpy(targets_N.mean(axis=0)))
        self.deviation_Q.copy_(torch.from_numpy(np.where(deviation_Q > 0, deviation_Q, 1.0)))

    def standardised(self, targets_BQ: Tensor) -> Tensor:
        """Return targets in training-set deviations."""
        return (targets_BQ - self.mean_Q) / self.deviation_Q

    def normal(self, outputs_BO: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mu [B, Q] and L [B, Q, Q] of standardised quantities; None where the network says nothing of it."""
        mean_BQ, rest_BP = outputs_BO[:, : self.size], outputs_BO[:, self.size :]
        return mean_BQ, cholesky_factor(rest_BP, self.size, full=self.is_full) if self.is_sure else None

    def answers(self, out: FusionOutput) -> Tensor:
        """Return mu, and behind it Sigma row by row where there is one: [B, Q] or [B, Q + Q Q]."""
        assert out.logits_BK is not None, "FusionModel always decides"
        mean_BQ, factor_BQQ = self.normal(out.logits_BK)
        mean_BQ = mean_BQ * self.deviation_Q + self.mean_Q
        if factor_BQQ is None:
            return mean_BQ
        scaled_BQQ = factor_BQQ * self.deviation_Q[None, :, None]
        return torch.cat([mean_BQ, (scaled_BQQ @ scaled_BQQ.transpose(1, 2)).flatten(1)], 1)
