"""The largest value of the modalities' embeddings, dimension by dimension."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("pool_max")
class PoolMax(Fusion):
    """z_d = max_m h_md, over the present; 0 where nothing is.

    Max pooling over a set (Zaheer et al. 2017). A modality's share is that of the dimensions in which it is largest.

    Use it where any one modality may carry the evidence, and more of them should not dilute it.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Take the largest of what is present."""
        present_BM = embedded.present_BM()
        h_BMD = embedded.vectors_BMD().masked_fill(~present_BM[:, :, None], float("-inf"))
        largest_BD, where_BD = h_BMD.max(1)
        z_BD = torch.where(present_BM.any(1, keepdim=True), largest_BD, 0.0)
        won_BM = one_hot(where_BD, len(self.spec.inputs)).to(z_BD.dtype).mean(1) * present_BM
        return FusionOutput(z_BD=z_BD, weights=weights_by_feature(self.spec, won_BM))
