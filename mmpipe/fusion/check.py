"""Find out that a network cannot be built before anything is read for it."""

from __future__ import annotations

import torch

from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec


def check_network(spec: ModelSpec) -> None:
    """Raise the ConfigError that building the network would, without taking memory or drawing random numbers."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        FusionModel(spec)
