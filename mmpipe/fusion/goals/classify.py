"""One of several classes."""

from __future__ import annotations

from torch import Tensor

from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec


class Classify(GoalPart):
    """Probabilities of the classes: a softmax of the scores."""

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        self.num_outputs = len(spec.classes)

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the probabilities, [B, K]."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return out.logits_BK.softmax(1)
