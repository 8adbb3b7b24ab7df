"""Weights of inputs that a person sets, in place of learned ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmpipe.config import Table
from mmpipe.errors import ConfigError
from mmpipe.fusion.spec import ModelSpec

Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class WeightOptions(Table):
    """Weights of the inputs: learned, or set."""

    weights: Mapping[str, Share] = Field(
        {}, description="fixed weight of every input by its name, as 0.7 and 0.3 or 7 and 3; none: they are learned"
    )


def fixed_scores(spec: ModelSpec, weights: Mapping[str, float]) -> Tensor:
    """Return log weights [M], whose softmax is the weights divided by their sum, in the order of the spec's inputs.

    An input is named as the config names it, with its version or without. Raise ConfigError unless every input has
    exactly one weight, and nothing else has.
    """
    by_feature = {feature: [name for name in weights if name in _names(feature)] for feature in spec.features}
    strangers = sorted(set(weights) - {name for names in by_feature.values() for name in names})
    if strangers or any(len(names) != 1 for names in by_feature.values()):
        raise ConfigError(
            f"fusion_options.{spec.fusion}.weights needs every input exactly once, {list(spec.features)}; "
            f"got {dict(weights)}. Leave `weights` out to have them learned"
        )
    return torch.tensor([weights[names[0]] for names in by_feature.values()]).log()


def _names(feature: str) -> tuple[str, str]:
    return feature, feature.rpartition("@")[0] or feature
