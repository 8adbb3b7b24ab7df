"""A running mean of a network's weights, which is often better than the last ones (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mmpipe.fusion.model import FusionModel

PREPROCESSING = "preprocess."  # fitted before training; the same in every state of a run


def learned(model: FusionModel) -> dict[str, Tensor]:
    """Return all that training changes: parameters, and buffers but for the fitted preprocessing."""
    buffers = {name: value for name, value in model.named_buffers() if not name.startswith(PREPROCESSING)}
    return {**dict(model.named_parameters()), **buffers}


class WeightMean:
    """After n updates the mean m becomes d m + (1 - d) w, d = min(decay, (1 + n) / (10 + n)).

    The growing d keeps the first weights, which are random, from staying in the mean.
    """

    def __init__(self, model: FusionModel, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.mean = {name: value.detach().clone() for name, value in learned(model).items()}

    def update(self, model: FusionModel) -> None:
        """Take the network's weights into the mean; what is no float is copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        with torch.no_grad():
            for name, value in learned(model).items():
                if value.is_floating_point():
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)

    def restore(self, mean: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a mean that was kept."""
        for name, value in mean.items():
            self.mean[name].copy_(value)
        self.updates = updates

    @contextmanager
    def applied(self, model: FusionModel) -> Iterator[None]:
        """Run with the mean in the network; its own weights come back."""
        own = {name: value.detach().clone() for name, value in learned(model).items()}
        _put(model, self.mean)
        try:
            yield
        finally:
            _put(model, own)


def _put(model: FusionModel, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in learned(model).items():
            value.copy_(values[name])
