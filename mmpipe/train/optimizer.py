"""The optimiser of a run, and its state as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmpipe.config import OptimizerName, TrainConfig

_PREFIX = "optimizer"


def make_optimizer(model: nn.Module, config: TrainConfig, rates: Mapping[str, float] = {}) -> torch.optim.Optimizer:
    """Build the optimiser; biases, norms and scalar weights (all of one axis) are not decayed.

    `rates` multiplies the learning rate of parameters by their names. The two groups of all others come first, so
    that their rate is the one that is told, and a state is found again under the same numbers.
    """
    groups = _groups(model, config, rates)
    if config.optimizer is OptimizerName.SGD:
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    if config.optimizer is OptimizerName.ADAM:
        return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _groups(model: nn.Module, config: TrainConfig, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    groups = []
    for rate in (1.0, *sorted({*rates.values()} - {1.0})):
        mine = [p for name, p in model.named_parameters() if rates.get(name, 1.0) == rate]
        groups += [
            {"params": [p for p in mine if p.ndim > 1], "weight_decay": config.weight_decay, "rate": rate},
            {"params": [p for p in mine if p.ndim <= 1], "weight_decay": 0.0, "rate": rate},
        ]
    return groups


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named `optimizer.<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{_PREFIX}.{number}.{name}": value
        for number, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give the optimiser the state that `optimizer_tensors` returned; other tensors are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        prefix, _, rest = full_name.partition(".")
        if prefix == _PREFIX:
            number, name = rest.split(".", 1)
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
