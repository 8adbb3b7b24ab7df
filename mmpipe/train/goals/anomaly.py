"""How unlike the normal clips a clip is: normal clips alone are learnt."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from mmpipe.errors import ConfigError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective


class AnomalyObjective(Objective):
    """Targets are 0 for normal clips, and no others may come; a score is minus the strangeness of a normal clip."""

    measure: ClassVar[str] = "likeness of normal clips"

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a clip to learn from is not normal."""
        if strange := int((targets_N != 0).sum()):
            raise ConfigError(f"{strange} of {len(targets_N)} clips to learn from are anomalous; leave them out")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the negative log likelihood of each clip's inputs."""
        losses_B: Tensor = out.answer.likelihoods_B
        return losses_B

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return minus the strangeness."""
        return -out.answer.scores_B.double()
