"""A few learned latents that read the tokens of all modalities."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import nn

from mmpipe.fusion.attention import (
    AttentionOptions,
    Block,
    CrossBlock,
    all_tokens,
    learned,
    num_tokens,
    shares_of_tokens,
)
from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class PerceiverOptions(AttentionOptions):
    """The size of what reads."""

    latents: int = Field(8, ge=1, le=256, description="learned vectors that read the tokens")


@register_fusion("perceiver")
class Perceiver(Fusion):
    """latents = block(cross(latents <- [h_1 + type_1 + position; ..; h_M + type_M + position])) `layers` times.

    Perceiver (Jaegle et al. 2021): N learned latents take from the tokens by cross-attention, then attend to each
    other; z = norm(mean of the latents). The cost grows with the tokens only linearly. The tokens of a missing modality
    are masked; with nothing present the latents take nothing. The weights are the latents' last looks at the tokens.

    Use it where tokens are many: long clips, many modalities.
    """

    reads_tokens = True
    Options = PerceiverOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: PerceiverOptions = self.read_options(spec)
        self.spec = spec
        self.z_dim = width = spec.encoder.width
        self.latents_ND = learned(options.latents, width)
        self.type_MD = learned(len(spec.inputs), width)
        self.position_SD = learned(max(num_tokens(spec).values()), width)
        self.reads = nn.ModuleList(
            CrossBlock(width, spec.dropout, options.heads, spare=False) for _ in range(options.layers)
        )
        self.thinks = nn.ModuleList(Block(width, spec.dropout, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Let the latents read what is present."""
        tokens_BLD, mask_BL = all_tokens(embedded, self.type_MD, self.position_SD)
        x_BND = self.latents_ND.expand(tokens_BLD.shape[0], -1, -1)
        every_BN = torch.ones_like(x_BND[:, :, 0], dtype=torch.bool)
        attention_BL = mask_BL.float()
        for read, think in zip(self.reads, self.thinks, strict=True):
            x_BND, attention_BL = cast(CrossBlock, read)(x_BND, tokens_BLD, mask_BL)
            x_BND, _ = cast(Block, think)(x_BND, every_BN)
        shares_BM = shares_of_tokens(embedded, attention_BL)
        return FusionOutput(z_BD=self.norm(x_BND.mean(1)), weights=weights_by_feature(self.spec, shares_BM))
