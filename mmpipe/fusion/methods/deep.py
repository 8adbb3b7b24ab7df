"""A central network that takes from every modality's own network at every layer."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmpipe.config import Table
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class DeepOptions(Table):
    """How deep the networks are."""

    layers: int = Field(2, ge=1, le=8, description="layers of the central network, and of each modality's own")


@register_fusion("deep")
class Deep(Fusion):
    """c_0 = sum_m a_m0 h_m0; c_l = a_cl GELU(C_l c_(l-1)) + sum_m a_ml h_ml, h_ml = GELU(W_ml h_m(l-1)); z = c_L.

    Layer-wise central fusion as in CentralNet (Vielzeuf et al. 2018): all a are learned numbers, each a mean at the
    start. Each modality's own scores, and so its own loss, are read from its last layer. Sums over modalities go over
    the present, times M / (number present).

    Use it where it is not known at which depth modalities should meet; needs more clips than the others.
    """

    Options = DeepOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: DeepOptions = self.read_options(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        num_inputs, width = len(spec.inputs), spec.encoder.width
        shares = torch.full((options.layers + 1, num_inputs), 1 / (num_inputs + 1))
        shares[0] = 1 / num_inputs  # the central network has nothing of its own yet
        self.share_LM = nn.Parameter(shares)
        self.share_central_L = nn.Parameter(torch.full((options.layers,), 1 / (num_inputs + 1)))
        self.central = nn.ModuleList(_layer(width, spec.dropout) for _ in range(options.layers))
        self.own = nn.ModuleList(
            nn.ModuleList(_layer(width, spec.dropout) for _ in spec.inputs) for _ in range(options.layers)
        )

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Go up all networks layer by layer."""
        h_BMD, fill_B1 = embedded.vectors_BMD(), embedded.fill_B1()
        present_BM1 = embedded.present_BM()[:, :, None]
        z_BD = _sum(self.share_LM[0], h_BMD) * fill_B1
        for number, (central, own) in enumerate(zip(self.central, self.own, strict=True)):
            layers = zip(cast(nn.ModuleList, own), h_BMD.unbind(1), strict=True)
            h_BMD = torch.stack([layer(h_BD) for layer, h_BD in layers], 1) * present_BM1
            taken_BD = _sum(self.share_LM[number + 1], h_BMD) * fill_B1
            z_BD = self.share_central_L[number] * central(z_BD) + taken_BD
        return FusionOutput(z_BD=z_BD, alone=dict(zip(self.spec.features, h_BMD.unbind(1), strict=True)))


def _layer(width: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout))


def _sum(share_M: Tensor, h_BMD: Tensor) -> Tensor:
    return (share_M[:, None] * h_BMD).sum(1)
