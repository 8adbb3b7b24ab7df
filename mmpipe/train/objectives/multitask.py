"""Several losses as one, trained together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return sum_t w_t L_t; raise ConfigError where a loss has no weight or a weight no loss."""
    if losses.keys() != weights.keys():
        raise ConfigError(f"weights are of {sorted(weights)}, the tasks are {sorted(losses)}")
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


class UncertaintyWeights(nn.Module):
    """L = sum_t exp(-s_t) c_t L_t + s_t / 2, with s_t = log sigma_t^2 learnt from 0 (Kendall, Gal, Cipolla 2018).

    c_t is 1/2 for a regression and 1 for a classification: the negative log likelihoods of a normal and of a softmax
    at temperature sigma^2, the latter by the paper's approximation.
    """

    def __init__(self, tasks: Sequence[str], regressions: Sequence[str] = ()) -> None:
        super().__init__()
        if strangers := sorted(set(regressions) - set(tasks)):
            raise ConfigError(f"{strangers} are not among the tasks {sorted(tasks)}")
        self.tasks = tuple(tasks)
        self.log_variance_T = nn.Parameter(torch.zeros(len(self.tasks)))
        self.register_buffer("factor_T", torch.tensor([0.5 if name in regressions else 1.0 for name in self.tasks]))

    factor_T: Tensor

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the joint loss of a batch."""
        losses_T = torch.stack([losses[name] for name in self.tasks])
        return ((-self.log_variance_T).exp() * self.factor_T * losses_T + 0.5 * self.log_variance_T).sum()
