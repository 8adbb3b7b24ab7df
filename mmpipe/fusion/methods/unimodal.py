"""One modality alone: the baseline that a fused model must beat."""

from __future__ import annotations

from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Embedded, Fusion
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("unimodal")
class Unimodal(Fusion):
    """z = h.

    With a linear encoder the whole network is a linear classifier (of rank `width`).

    Use it with one input; beside fusions every input competes alone without being asked to.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        if len(spec.inputs) != 1:
            raise ConfigError(f"the fusion 'unimodal' reads exactly one input, got {list(spec.features)}")
        self.z_dim = spec.encoder.width

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Hand on the only vector."""
        return FusionOutput(z_BD=embedded.vectors_BMD()[:, 0])
