"""The tensor of all products of the modalities' embeddings."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from mmpipe.config import Table
from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec

MAX_SIZE = 1 << 14  # numbers of z per clip: 64 KiB, and a head of as many weights per class


class TfnOptions(Table):
    """How large the tensor is: (width + 1) to the power of the number of inputs."""

    width: int = Field(0, ge=0, le=512, description="every embedding is mapped to so many first; 0: it stays as it is")


@register_fusion("tfn")
class Tfn(Fusion):
    """z = flatten([1; h_1] x .. x [1; h_M]), the outer product.

    Tensor fusion network (Zadeh et al. 2017): every product of dimensions of some modalities is an entry. With h_m = 0
    where m is missing, what is left is the tensor of the others. With `width`, W_m h_m of that width stands for h_m.

    Use it for two small embeddings, where each pair of dimensions may matter; for more, `lmf`.
    """

    Options = TfnOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: TfnOptions = self.read_options(spec)
        width = options.width or spec.encoder.width
        self.z_dim = (width + 1) ** len(spec.inputs)
        if self.z_dim > MAX_SIZE:
            raise ConfigError(_too_large(spec, width))
        maps = nn.ModuleList(nn.Linear(spec.encoder.width, width, bias=False) for _ in spec.inputs)
        self.maps = maps if options.width else nn.ModuleList(nn.Identity() for _ in spec.inputs)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Multiply every dimension with every other."""
        h_BMD = embedded.vectors_BMD()
        z_BD = torch.ones_like(h_BMD[:, 0, :1])
        for one_map, h_BD in zip(self.maps, h_BMD.unbind(1), strict=True):
            one_h_BE = torch.cat([torch.ones_like(h_BD[:, :1]), one_map(h_BD)], 1)
            z_BD = (z_BD[:, :, None] * one_h_BE[:, None, :]).flatten(1)
        return FusionOutput(z_BD=self.dropout(z_BD))


def _too_large(spec: ModelSpec, width: int) -> str:
    num_inputs = len(spec.inputs)
    fits = max((w for w in range(width) if (w + 1) ** num_inputs <= MAX_SIZE), default=0)
    smaller = f"set fusion_options.tfn.width = {fits} or less, " if fits else ""
    return (
        f"the fusion 'tfn' of {num_inputs} inputs of width {width} would make ({width} + 1)^{num_inputs} = "
        f"{(width + 1) ** num_inputs:,} numbers of each clip, at most {MAX_SIZE:,} are allowed: {smaller}"
        "use 'lmf', which never builds the tensor, or fuse fewer inputs"
    )
