"""One of several classes: cross-entropy, weighted and smoothed as the config says."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from mmpipe.config import ClassBalance, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.class_balance import class_weights
from mmpipe.train.goals.base import Objective


class ClassifyObjective(Objective):
    """Targets are class indices [B], or shares of classes [B, K] where clips are mixed."""

    measure: ClassVar[str] = "accuracy"

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
    ) -> None:
        super().__init__(spec, config, training_targets, device)
        self.class_weights_K: Tensor | None = None
        if config.class_balance is ClassBalance.WEIGHTS:
            weights_K = class_weights(training_targets, len(spec.classes))
            self.class_weights_K = torch.from_numpy(weights_K).to(device)

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a clip has no class of the spec."""
        bad = int(((targets_N < 0) | (targets_N >= len(spec.classes))).sum())
        if bad:
            raise ConfigError(
                f"{bad} of {len(targets_N)} rows have no label among {list(spec.classes)}; leave them out"
            )

    def weights_B(self, target: Tensor) -> Tensor | None:
        """Return the weight of each clip's class."""
        if self.class_weights_K is None:
            return None
        return self.class_weights_K[target] if target.ndim == 1 else target @ self.class_weights_K

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the cross-entropy, times the weight of the clip's class."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_losses(model.goal, out.logits_BK, target)

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the cross-entropy."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return cross_entropy(out.logits_BK, target, reduction="none")

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of some scores, times the weight of the clip's class."""
        return cross_entropy(
            logits_BK, target, self.class_weights_K, label_smoothing=self.config.label_smoothing, reduction="none"
        )

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return 1 where the highest score is that of the true class."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_scores(model.goal, out.logits_BK, target)

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some scores."""
        return (logits_BK.argmax(1) == target).double()

    def mixable(self, target: Tensor) -> Tensor:
        """Return shares of classes."""
        return one_hot(target, len(self.spec.classes)).float()
