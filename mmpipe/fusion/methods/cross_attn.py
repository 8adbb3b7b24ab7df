"""Modalities that take from each other by attention."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.fusion.attention import AttentionOptions, CrossBlock, learned, num_tokens
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.encoders.base import masked_mean
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class CrossOptions(AttentionOptions):
    """Who asks."""

    queries: str = Field("", description="the one input that asks all others; empty: each asks each other one")


@register_fusion("cross_attn")
class CrossAttention(Fusion):
    """z = dropout(GELU(W [h_1; ..; h_M] * M / (number present) + b)), h_a = pool(mean_b Z_ba), with in each layer

    Z_ba <- Z_ba + attention(Q = Z_ba, K = V = x_b), then Z_ba <- Z_ba + MLP(Z_ba); Z_ba = x_a at the start.

    The crossmodal transformer of MulT (Tsai et al. 2019): one per ordered pair, pre-norm, its keys and values always
    the source's own tokens, learned positions. Means go over what is present; a modality alone hands on its tokens.
    Beside the source's tokens stands one of zeros, so that nothing need be taken. With `queries` one modality asks
    (z from its h alone); where that one is missing, its learned positions ask.

    Use it where one modality says where to look in another, and the tokens keep their order.
    """

    reads_tokens = True
    Options = CrossOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: CrossOptions = self.read_options(spec)
        self.z_dim = width = spec.encoder.width
        self.asking = _asking(spec, options.queries)
        self.position_SD = learned(max(num_tokens(spec).values()), width)
        self.takes = ByFeature()  # by who asks, then by who is asked
        for name in self.asking:
            self.takes[name] = ByFeature()
            for source in spec.features:
                if source != name:
                    cast(ByFeature, self.takes[name])[source] = nn.ModuleList(
                        CrossBlock(width, spec.dropout, options.heads, spare=True) for _ in range(options.layers)
                    )
        self.mix = nn.Linear(len(self.asking) * width, width)
        self.out = nn.Sequential(nn.GELU(), nn.Dropout(spec.dropout))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Let those who ask take from all others, then put them side by side."""
        x_by_name = {name: x_BSD + self.position_SD[: x_BSD.shape[1]] for name, x_BSD in embedded.tokens.items()}
        asked = [self._ask(name, x_by_name, embedded) for name in self.asking]
        if len(asked) == 1:
            return FusionOutput(z_BD=self.out(self.mix(asked[0])))
        h_BMD = torch.stack(asked, 1) * embedded.present_BM()[:, :, None]
        return FusionOutput(z_BD=self.out(self.mix(h_BMD.flatten(1) * embedded.fill_B1())))

    def _ask(self, name: str, x_by_name: dict[str, Tensor], embedded: Embedded) -> Tensor:
        """Return h [B, D] of one that asks: the mean of its tokens after they took from what is present."""
        others = cast(ByFeature, self.takes[name])
        taken = []
        for source, blocks in others.items():
            z_BSD = x_by_name[name]
            for block in cast(nn.ModuleList, blocks):
                z_BSD, _ = block(z_BSD, x_by_name[source], embedded.mask_BS(source))
            taken.append(z_BSD)
        present_BO = torch.stack([embedded.present[source] for source in others], 1)
        shares_BO = present_BO / present_BO.sum(1, keepdim=True).clamp(min=1)
        mean_BSD = (torch.stack(taken, 1) * shares_BO[:, :, None, None]).sum(1)
        z_BSD = torch.where(present_BO.any(1)[:, None, None], mean_BSD, x_by_name[name])
        asking_BS = embedded.mask_BS(name) | ~embedded.present[name][:, None]  # where it is missing, all its places ask
        return masked_mean(z_BSD, asking_BS)


def _asking(spec: ModelSpec, queries: str) -> tuple[str, ...]:
    """Return the features that ask: all, or the one that is named, with its version or without."""
    found = tuple(name for name in spec.features if not queries or queries in (name, name.rpartition("@")[0]))
    if not found:
        raise ConfigError(
            f"fusion_options.cross_attn.queries must be one of the inputs {list(spec.features)}, got {queries!r}; "
            "leave it out to have each ask each other one"
        )
    return found
