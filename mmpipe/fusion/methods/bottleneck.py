"""Modalities that speak to each other only through a few shared tokens."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmpipe.config import Table
from mmpipe.fusion.attention import Block, learned, num_tokens
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class BottleneckOptions(Table):
    """How narrow, and how often."""

    tokens: int = Field(4, ge=1, le=4, description="bottleneck tokens that the modalities share")
    layers: int = Field(2, ge=2, le=16, description="layers; what one says, another reads a layer later")
    heads: int = Field(4, ge=1, le=64, description="attention heads; halved until they divide the encoder's width")


@register_fusion("bottleneck")
class Bottleneck(Fusion):
    """[x_m'; b_m'] = block_m([x_m; b]) in every layer, then b = mean over the present m of b_m'.

    Multimodal bottleneck transformer (MBT, Nagrani et al. 2021) with B <= 4 bottleneck tokens and a CLS token in every
    x_m; the last CLS tokens, normalised, are averaged over the present: a linear head on that is MBT's mean of the
    modalities' scores. A missing modality writes nothing to b; with nothing present z = 0.

    Use it where tokens are many and two modalities share little: the narrow passage is the regulariser.
    """

    reads_tokens = True
    Options = BottleneckOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: BottleneckOptions = self.read_options(spec)
        self.z_dim = spec.encoder.width
        self.cls_MD = learned(len(spec.inputs), self.z_dim)
        self.position_SD = learned(max(num_tokens(spec).values()), self.z_dim)
        self.bottleneck_ND = learned(options.tokens, self.z_dim)
        self.layers = nn.ModuleList(self._layer(spec, options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(self.z_dim)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Let every modality read and write the bottleneck; its own CLS token is what is fused."""
        x_by_name = {
            name: torch.cat(
                [self.cls_MD[m].expand(x_BSD.shape[0], 1, -1), x_BSD + self.position_SD[: x_BSD.shape[1]]], 1
            )
            for m, (name, x_BSD) in enumerate(embedded.tokens.items())
        }
        shares_BM11 = embedded.equal_shares_BM()[:, :, None, None]
        b_BND = self.bottleneck_ND.expand(shares_BM11.shape[0], -1, -1)
        for layer in self.layers:
            written = []
            for name, block in cast(ByFeature, layer).items():
                x_by_name[name], b_m_BND = self._pass(
                    cast(Block, block), x_by_name[name], b_BND, embedded.mask_BS(name)
                )
                written.append(b_m_BND)
            b_BND = (torch.stack(written, 1) * shares_BM11).sum(1)
        cls_BMD = self.norm(torch.stack([x_BLD[:, 0] for x_BLD in x_by_name.values()], 1))
        return FusionOutput(z_BD=(cls_BMD * shares_BM11[..., 0]).sum(1))

    def _pass(self, block: Block, x_BLD: Tensor, b_BND: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return [x_m'; b_m']; CLS and bottleneck are never masked."""
        always_B1 = torch.ones_like(mask_BS[:, :1])
        mask_BL = torch.cat([always_B1, mask_BS, always_B1.expand(-1, b_BND.shape[1])], 1)
        out_BLD, _ = block(torch.cat([x_BLD, b_BND], 1), mask_BL)
        return out_BLD[:, : x_BLD.shape[1]], out_BLD[:, x_BLD.shape[1] :]

    def _layer(self, spec: ModelSpec, options: BottleneckOptions) -> ByFeature:
        layer = ByFeature()
        for name in spec.features:
            layer[name] = Block(self.z_dim, spec.dropout, options.heads)
        return layer
