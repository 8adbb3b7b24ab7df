"""The product of the modalities' own probabilities."""

from __future__ import annotations

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("late_product")
class LateProduct(Fusion):
    """p(y) = prod_m p_m(y) / sum_k prod_m p_m(k) over the present, with p_m = softmax(l_m).

    Decision-level fusion: a product of experts (Hinton 2002), which is the product rule of Kittler et al. 1998 for
    equally frequent classes. Each modality can veto. z is the mean embedding. A clip of which nothing is present gets
    equal probabilities.

    Use it where modalities err independently; it grows surer with every one that agrees, so look at its calibration.
    """

    decides = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Multiply the probabilities of what is present."""
        shares_BM = embedded.equal_shares_BM()
        log_p_BMK = embedded.logits_BMK().log_softmax(2) * embedded.present_BM()[:, :, None]
        return FusionOutput(
            z_BD=(shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1),
            logits_BK=log_p_BMK.sum(1).log_softmax(1),
            weights=weights_by_feature(self.spec, shares_BM),
        )
