"""The modalities' embeddings side by side, then one hidden layer."""

from __future__ import annotations

from torch import nn

from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("concat")
class Concat(Fusion):
    """z = dropout(GELU(W [h_1; ..; h_M] * M / (number present) + b)), with h_m = 0 where m is missing.

    Mid-level fusion as in Ngiam et al. 2011. The factor keeps the size of the sum when a modality is missing.

    Use it where what two modalities say together is more than what each says.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.z_dim = spec.encoder.width
        self.mix = nn.Linear(len(spec.inputs) * spec.encoder.width, self.z_dim)
        self.out = nn.Sequential(nn.GELU(), nn.Dropout(spec.dropout))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Mix the embeddings of what is present."""
        return FusionOutput(z_BD=self.out(self.mix(embedded.vectors_BMD().flatten(1) * embedded.fill_B1())))
