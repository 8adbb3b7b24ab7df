"""Any of several labels: binary cross-entropy of each."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective
from mmpipe.train.objectives.multilabel import multilabel_cross_entropy


class MultilabelObjective(Objective):
    """Targets are 1 where a clip has a label [B, K]; a score is the F1 of a clip's labels at 0.5."""

    measure: ClassVar[str] = "F1 of a clip's labels"

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a target is not a yes or no of each label."""
        wanted = (len(targets_N), len(spec.classes))
        if targets_N.shape != wanted or not np.isin(targets_N, (0, 1)).all():
            raise ConfigError(f"the targets must be 0 or 1, {wanted}, of the labels {list(spec.classes)}")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the mean over labels."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return multilabel_cross_entropy(out.logits_BK, target)

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some scores."""
        return multilabel_cross_entropy(logits_BK, target)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the F1 of the labels whose score is above 0."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_scores(model.goal, out.logits_BK, target)

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some scores."""
        given_BK = (logits_BK >= 0).double()
        both_B = given_BK.sum(1) + target.sum(1)
        return (2 * (given_BK * target).sum(1) / both_B.clamp(min=1)).where(both_B > 0, 1.0)

    def mixable(self, target: Tensor) -> Tensor:
        """Return the labels: shares of them mix as they are."""
        return target
