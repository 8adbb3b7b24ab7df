"""The tensor of all products of the modalities' embeddings, weighed without ever building it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from mmpipe.config import Table
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class LmfOptions(Table):
    """How much the factors can say."""

    rank: int = Field(4, ge=1, le=256, description="number of products that are added up")


@register_fusion("lmf")
class Lmf(Fusion):
    """z = sum_r prod_m (W_m^r [1; h_m]), elementwise.

    Low-rank multimodal fusion (Liu et al. 2018): what a linear map of rank R makes of the tensor of `tfn`, at a cost
    that grows with the sum of the widths and not with their product. With h_m = 0 where m is missing, its constant
    W_m^r [1; 0] is left, as in `tfn`.

    Use it where `tfn` is too large, or overfits.
    """

    Options = LmfOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: LmfOptions = self.read_options(spec)
        self.z_dim = spec.encoder.width
        self.factors_RED = nn.ParameterList(  # one per input; E = 1 + width, the constant first
            torch.randn(options.rank, 1 + spec.encoder.width, self.z_dim) / (1 + spec.encoder.width) ** 0.5
            for _ in spec.inputs
        )
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Multiply what each modality's factors make of it, and add up over the rank."""
        h_BMD = embedded.vectors_BMD()
        one_h_BME = torch.cat([torch.ones_like(h_BMD[:, :, :1]), h_BMD], 2)
        parts = [
            torch.einsum("be,red->brd", one_h_BE, factor_RED)
            for one_h_BE, factor_RED in zip(one_h_BME.unbind(1), self.factors_RED, strict=True)
        ]
        return FusionOutput(z_BD=self.dropout(torch.stack(parts).prod(0).sum(1)))
