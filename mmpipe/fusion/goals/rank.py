"""Who likes a clip."""

from __future__ import annotations

from torch import Tensor

from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec


class Rank(GoalPart):
    """A score s_ui = w_u z_i + b_u of every user u for a clip i: the linear head's rows are what users like.

    A clip needs to be known to nobody: its score is of what is in it (factors of items as in Rendle et al. 2009, made
    from content as in van den Oord et al. 2013). b_u changes no list.
    """

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        self.num_outputs = len(spec.classes)

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the scores, [B, U]."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return out.logits_BK
