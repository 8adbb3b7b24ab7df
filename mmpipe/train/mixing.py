"""Weights of modalities, fitted where overfitting shows: on the validation clips.

On the clips that they were trained on, all modalities look right, so no gradient tells a weak one from a strong one.
"""

from __future__ import annotations

import numpy as np
import torch

from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import PreparedData
from mmpipe.train.goals.base import Objective

PRIOR_DEVIATION = 1.0  # of a score or log temperature: a share up to e times another is no surprise
MAX_ITERATIONS = 50


def fit_mixing(
    model: FusionModel, data: PreparedData, positions: np.ndarray, target: torch.Tensor, objective: Objective
) -> None:
    """Set the fusion's `mixing` parameters to their most probable values given the validation clips.

    Minimises the summed loss plus the negative log of a normal prior around equal weights, so that few
    clips move them little. Everything else of the network stays as it is, and so do they where they are frozen.
    """
    parameters = [found for name in model.fusion.mixing if (found := getattr(model.fusion, name)).requires_grad]
    if not parameters or not len(positions):
        return
    model.eval()
    prepared = data.take(positions)
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
    optimizer = torch.optim.LBFGS(parameters, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        prior = sum(parameter.square().sum() for parameter in parameters) / (2 * PRIOR_DEVIATION**2)
        total = objective.plain_losses(model, model.forward_prepared(prepared), target).sum() + prior
        for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            parameter.grad = gradient
        return total.item()

    optimizer.step(closure)
