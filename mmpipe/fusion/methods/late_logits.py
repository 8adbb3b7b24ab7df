"""The mean of the modalities' own class scores."""

from __future__ import annotations

from mmpipe.config import Goal
from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("late_logits")
class LateLogits(Fusion):
    """l = sum_m l_m / (number present), over the present; p(y) = softmax(l), so p(y) ~ (prod_m p_m(y))^(1/n).

    Decision-level fusion: the logarithmic opinion pool with equal weights (Genest, Zidek 1986). z is the mean
    embedding. A clip of which nothing is present gets equal probabilities.

    Use it as the plain late baseline: it has nothing to learn, so nothing to overfit.
    """

    decides = True
    goals = frozenset({Goal.CLASSIFY, Goal.MULTILABEL, Goal.REGRESS, Goal.RANK})

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Average the scores of what is present."""
        shares_BM = embedded.equal_shares_BM()
        return FusionOutput(
            z_BD=(shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1),
            logits_BK=(shares_BM[:, :, None] * embedded.logits_BMK()).sum(1),
            weights=weights_by_feature(self.spec, shares_BM),
        )
