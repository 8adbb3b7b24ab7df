"""The mean of the modalities' embeddings."""

from __future__ import annotations

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("pool_mean")
class PoolMean(Fusion):
    """z = sum_m h_m / (number present), over the present.

    Mean pooling over a set (Zaheer et al. 2017): `early_weighted` with equal weights that nothing moves.

    Use it as the baseline that a learned weighting must beat.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Average what is present."""
        shares_BM = embedded.equal_shares_BM()
        z_BD = (shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1)
        return FusionOutput(z_BD=z_BD, weights=weights_by_feature(self.spec, shares_BM))
