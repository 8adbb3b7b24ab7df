"""The elementwise product of the modalities' embeddings."""

from __future__ import annotations

from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("hadamard")
class Hadamard(Fusion):
    """z = prod_m (1 + h_m), elementwise over the present.

    Low-rank bilinear pooling as in Kim et al. 2017 (MLB), with 1 added, so that every product of some modalities is a
    term of it and a missing one (h_m = 0) drops out.

    Use it where one modality says how to read another; cheap, but the product of many inputs grows.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Multiply what is present."""
        return FusionOutput(z_BD=(1 + embedded.vectors_BMD()).prod(1))
