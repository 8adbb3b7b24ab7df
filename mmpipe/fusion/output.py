"""What every fusion gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionOutput:
    """Row b of every part speaks of clip b; D is the fusion's width, K the number of classes."""

    z_BD: Tensor  # joint embedding
    logits_BK: Tensor | None = (
        None  # softmax gives probabilities; None: the fusion leaves the decision to a linear head
    )
    answer: Any = None  # of a goal that needs more than such scores: a frozen value of the goal's own file
    alone: Mapping[str, Tensor] = field(default_factory=dict)  # feature -> [B, W] that its own head reads; none: h_m
    per_modality: Mapping[str, Tensor] = field(default_factory=dict)  # feature -> class scores [B, K] from it alone
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # feature -> share [B] that the fusion gave it
    levels: Mapping[str, Tensor] = field(default_factory=dict)  # what lies between tokens and z, [B, .., D] by name
    also: Mapping[str, Tensor] = field(default_factory=dict)  # scores [B, ..] of more answers, by name
    aux: Mapping[str, Tensor] = field(default_factory=dict)  # extra losses by name, each a scalar, added as they are
