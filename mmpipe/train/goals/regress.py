"""Numbers: squared error, or the likelihood of a normal distribution; of standardised quantities."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
from torch import Tensor

from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.goals.regress import Regress
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective
from mmpipe.train.objectives.regression import gaussian_likelihood, squared_error


class RegressObjective(Objective):
    """Targets are the quantities [B, Q]; a score is 1 - squared error in training-set deviations, R2 in the mean."""

    measure: ClassVar[str] = "R2"

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a quantity is not a finite number."""
        wanted = (len(targets_N), len(spec.classes))
        if targets_N.shape != wanted or not np.isfinite(targets_N).all():
            raise ConfigError(f"the targets must be finite numbers {wanted} of {list(spec.classes)}")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the mean squared error, or the negative log likelihood of all quantities together."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_losses(model.goal, out.logits_BK, target)

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some outputs."""
        regress = cast(Regress, part)
        wanted_BQ = regress.standardised(target)
        mean_BQ, factor_BQQ = regress.normal(logits_BK)
        if factor_BQQ is None:
            return squared_error(mean_BQ, wanted_BQ)
        return gaussian_likelihood(mean_BQ, factor_BQQ, wanted_BQ)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return 1 - mean squared error in deviations of the training clips."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_scores(model.goal, out.logits_BK, target)

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some outputs."""
        regress = cast(Regress, part)
        return 1 - squared_error(regress.normal(logits_BK)[0], regress.standardised(target)).double()

    def mixable(self, target: Tensor) -> Tensor:
        """Return the quantities: they mix as they are."""
        return target
