"""More answers from one network: a head each on the joint embedding, and what their losses weigh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mmpipe.config import Goal, Weighting
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.goals.registry import goal_part
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import AlsoSpec, ModelSpec


class Also(nn.Module):
    """One more answer: a linear head on z, and the part of its goal."""

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__()
        self.part: GoalPart = goal_part(spec.goal)(spec, z_dim)
        assert self.part.num_outputs is not None, "the config allows goals of one vector alone"
        self.head = nn.Linear(z_dim, self.part.num_outputs)


class JointAnswers(nn.Module):
    """All more answers of a network by name, and the learnt uncertainty of each and of its own answer."""

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__()
        self.answers = nn.ModuleDict({name: Also(own_spec(spec, one), z_dim) for name, one in spec.also.items()})
        self.weights = UncertaintyWeights(spec) if spec.weighting is Weighting.UNCERTAINTY else None

    def forward(self, out: FusionOutput) -> FusionOutput:
        """Return the output with the scores of the other answers."""
        return replace(out, also={name: one.head(out.z_BD) for name, one in self.named().items()})

    def told(self, out: FusionOutput) -> dict[str, Tensor]:
        """Return the other answers [B, ...], in the forms of their goals."""
        return {name: one.part.answers(replace(out, logits_BK=out.also[name])) for name, one in self.named().items()}

    def named(self) -> dict[str, Also]:
        """Return the other answers' parts by name."""
        return {name: cast(Also, one) for name, one in self.answers.items()}


class UncertaintyWeights(nn.Module):
    """L = sum_t exp(-s_t) c_t L_t + s_t / 2, with s_t = log sigma_t^2 learnt from 0 (Kendall, Gal, Cipolla 2018).

    c_t is 1/2 for a regression and 1 for a classification: the negative log likelihoods of a normal and of a softmax
    at temperature sigma^2, the latter by the paper's approximation. The first is the network's own answer.
    """

    factor_T: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        goals = [spec.goal, *(one.goal for one in spec.also.values())]
        self.log_variance_T = nn.Parameter(torch.zeros(len(goals)))
        self.register_buffer("factor_T", torch.tensor([0.5 if goal is Goal.REGRESS else 1.0 for goal in goals]))

    def forward(self, losses_TB: Tensor) -> Tensor:
        """Return the joint loss of every clip, [B]."""
        weights_T = (-self.log_variance_T).exp() * self.factor_T
        return weights_T @ losses_TB + 0.5 * self.log_variance_T.sum()


def own_spec(spec: ModelSpec, also: AlsoSpec) -> ModelSpec:
    """Return the spec as if this were the network's own answer."""
    return replace(
        spec,
        goal=also.goal,
        goal_options=also.goal_options,
        classes=also.classes,
        also=_NONE,
        weighting=Weighting.FIXED,
    )


_NONE: Mapping[str, AlsoSpec] = {}
