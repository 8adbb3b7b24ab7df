"""What training minimises for a goal, and how its validation clips are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.totals import StepTotals


class Objective:
    """Losses and scores, one per clip: the loop sums them over batches, accumulated steps and processes.

    Targets are one array with the clips as first axis; `training_targets` are those of the training clips.
    """

    measure: ClassVar[str]  # what a validation score is of; more is better
    compares_clips: ClassVar[bool] = False  # True: a clip's loss depends on the others, so none may be left out

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
    ) -> None:
        self.spec, self.config = spec, config

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where targets are not what the spec says."""

    def weights_B(self, target: Tensor) -> Tensor | None:
        """Return what each clip counts in a mean over clips; None where all count the same."""
        return None

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the loss of every clip [B] as it is trained, smoothed and weighted."""
        raise NotImplementedError

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the loss of every clip [B] as validation compares epochs by it."""
        return self.clip_losses(model, out, target)

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the loss of every clip [B] of what one modality says alone."""
        raise NotImplementedError

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the score of every clip [B] or, where the answer is not one per clip, their mean for each clip."""
        raise NotImplementedError

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the score of every clip [B] of what one modality says alone."""
        raise NotImplementedError

    def mixable(self, target: Tensor) -> Tensor:
        """Return targets of which shares can be mixed, float [B, ...]."""
        raise ConfigError(f"mixup_alpha cannot mix answers of goal = {self.spec.goal.value!r}; set it to 0")

    def training_loss(
        self,
        model: FusionModel,
        out: FusionOutput,
        target: Tensor,
        prepared: Mapping[str, Prepared],
        totals: StepTotals,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch as its part of its step's, and the loss of every clip.

        loss = mean(clip losses) + unimodal_weight * mean over modalities of the mean loss of what it says alone, over
        the clips that have it, + the fusion's own extra losses. Means are weighted where clips count differently.
        """
        clip_losses_B = self.clip_losses(model, out, target)
        loss = clip_losses_B.sum() / totals.weight
        if out.per_modality and self.config.unimodal_weight:
            weight = self.config.unimodal_weight / len(out.per_modality)
            for name, logits_BK in out.per_modality.items():
                losses_B = self.alone_losses(model.goal, logits_BK, target)
                if name not in totals.complete:
                    losses_B = losses_B * prepared[name].present_B
                loss = loss + weight * losses_B.sum() / totals.present[name]
        for extra in out.aux.values():
            loss = loss + extra * (len(target) / totals.clips)
        return loss, clip_losses_B.detach()
