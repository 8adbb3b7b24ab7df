"""Several answers learnt together: their losses summed by fixed weights, or by learnt uncertainty.

The targets are packed side by side, float32 [B, C], those of the network's own answer first; classes as their index.
A clip that has no target of another answer has NaN there, and does not count in its loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import Goal, TrainConfig, Weighting
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.goals.joint import JointAnswers, own_spec
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective

_Array = TypeVar("_Array", np.ndarray, Tensor)


class JointObjective(Objective):
    """The network's own objective, with others beside it; epochs are compared by its own alone."""

    def __init__(
        self,
        spec: ModelSpec,
        config: TrainConfig,
        training_targets: np.ndarray,
        device: torch.device,
        kinds: Mapping[Goal, type[Objective]],
    ) -> None:
        super().__init__(spec, config, training_targets, device)
        self.columns = packed_columns(spec)
        own, *rest = self.columns.values()
        plain = replace(spec, also={}, weighting=Weighting.FIXED)
        self.own = kinds[spec.goal](plain, config, unpack(training_targets[:, own], spec.goal), device)
        self.own_columns = own
        self.others = {
            name: kinds[one.goal](
                own_spec(spec, one), config, unpack(np.nan_to_num(training_targets[:, columns]), one.goal), device
            )
            for (name, one), columns in zip(spec.also.items(), rest, strict=True)
        }
        self.weights_T = torch.tensor([1.0, *(one.weight for one in spec.also.values())], device=device)
        self.measure = self.own.measure  # type: ignore[misc]

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the joint loss of every clip."""
        joint = cast(JointAnswers, model.joint)
        losses = [self.own.clip_losses(model, out, self._own(target))]
        for name, objective in self.others.items():
            packed_BC = target[:, self.columns[name]]
            has_B = ~packed_BC.isnan().any(1)
            filled = unpack(packed_BC.nan_to_num(), objective.spec.goal)
            losses_B = objective.alone_losses(joint.named()[name].part, out.also[name], filled)
            losses.append(torch.where(has_B, losses_B, 0.0))
        losses_TB = torch.stack(losses)
        return joint.weights(losses_TB) if joint.weights is not None else self.weights_T @ losses_TB

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the loss of the network's own answer."""
        return self.own.plain_losses(model, out, self._own(target))

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the network's own answer from one modality."""
        return self.own.alone_losses(part, logits_BK, self._own(target))

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the scores of the network's own answer."""
        return self.own.scores(model, out, self._own(target))

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same from one modality."""
        return self.own.alone_scores(part, logits_BK, self._own(target))

    def _own(self, target: Tensor) -> Tensor:
        return unpack(target[:, self.own_columns], self.spec.goal)


def unpack(packed_BC: _Array, goal: Goal) -> _Array:
    """Return the targets of one answer in the form of its goal."""
    if goal is not Goal.CLASSIFY:
        return packed_BC
    return packed_BC[:, 0].long() if isinstance(packed_BC, Tensor) else packed_BC[:, 0].astype(np.int64)


def packed_columns(spec: ModelSpec) -> dict[str, slice]:
    """Return which columns are whose; "" is the network's own answer."""
    widths = {"": 1 if spec.goal is Goal.CLASSIFY else len(spec.classes)}
    widths |= {name: one.width for name, one in spec.also.items()}
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


def fit_goals(model: FusionModel, training_targets: np.ndarray, *, keeps_own: bool = False) -> None:
    """Fit what goals fit to the training clips' targets, each to its own; a network may keep what its own was."""
    if model.joint is None:
        if not keeps_own:
            model.goal.fit(training_targets)
        return
    columns = packed_columns(model.spec)
    if not keeps_own:
        model.goal.fit(unpack(training_targets[:, columns[""]], model.spec.goal))
    for name, one in model.joint.named().items():
        packed_NC = training_targets[:, columns[name]]
        known_NC = packed_NC[~np.isnan(packed_NC).any(axis=1)]
        one.part.fit(unpack(known_NC, model.spec.also[name].goal))
