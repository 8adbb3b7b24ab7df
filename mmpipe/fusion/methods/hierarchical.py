"""Attention from the tokens upwards: token, segment, modality, joint."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from mmpipe.config import Table
from mmpipe.fusion.attention import masked_softmax, num_tokens
from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


class HierarchyOptions(Table):
    """The levels between token and modality."""

    segments: int = Field(2, ge=1, le=64, description="ordered runs of tokens that are summed up first")


@register_fusion("hierarchical")
class Hierarchical(Fusion):
    """token -> segment -> modality -> joint (= z), each level sum_i a_i x_i with a = softmax(u . tanh(W x_i + b)).

    Hierarchical attention (Yang et al. 2016) without its recurrent layers, which here are the encoders' business.
    Segment g of G holds the tokens floor(g S / G) up to floor((g + 1) S / G); W and u are a level's and a modality's
    own, and are made only where there is something to choose. What is not real or missing gets no attention. The
    vectors of the levels below z are kept in `levels`: `segment NAME` [B, G, D] and `modality NAME` [B, D].

    Use it where it should be seen which part of which modality counted, or where parts are searched for.
    """

    reads_tokens = True
    Options = HierarchyOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: HierarchyOptions = self.read_options(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        self.segments = options.segments
        self.over_tokens, self.over_segments = ByFeature(), ByFeature()
        for name, number in num_tokens(spec).items():
            if number > self.segments:
                self.over_tokens[name] = AttentionPool(self.z_dim)
            if min(number, self.segments) > 1:
                self.over_segments[name] = AttentionPool(self.z_dim)
        self.over_modalities = AttentionPool(self.z_dim)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Go up the levels; the weights are those of the modalities."""
        segments = {name: self._segments(name, embedded) for name in embedded.tokens}
        modalities = {name: self._modality(name, *segment) for name, segment in segments.items()}
        z_BD, shares_BM = self.over_modalities(torch.stack(list(modalities.values()), 1), embedded.present_BM())
        return FusionOutput(
            z_BD=z_BD,
            weights=weights_by_feature(self.spec, shares_BM),
            levels={
                **{f"segment {name}": x_BGD for name, (x_BGD, _) in segments.items()},
                **{f"modality {name}": x_BD for name, x_BD in modalities.items()},
            },
        )

    def _segments(self, name: str, embedded: Embedded) -> tuple[Tensor, Tensor]:
        """Return a modality's segments [B, G, D], and which of them have a real token."""
        x_BSD, mask_BS = embedded.tokens[name], embedded.mask_BS(name)
        if name not in self.over_tokens:
            return x_BSD, mask_BS
        count = x_BSD.shape[1]
        bounds = [number * count // self.segments for number in range(self.segments + 1)]
        pool = self.over_tokens[name]
        runs = [slice(low, high) for low, high in pairwise(bounds)]
        x_BGD = torch.stack([pool(x_BSD[:, run], mask_BS[:, run])[0] for run in runs], 1)
        return x_BGD, torch.stack([mask_BS[:, run].any(1) for run in runs], 1)

    def _modality(self, name: str, x_BGD: Tensor, mask_BG: Tensor) -> Tensor:
        """Return a modality as one vector [B, D], zeros where it is missing."""
        if name not in self.over_segments:
            return x_BGD[:, 0]
        x_BD: Tensor = self.over_segments[name](x_BGD, mask_BG)[0]
        return x_BD


class AttentionPool(nn.Module):
    """A weighted mean whose weights come from what is averaged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)  # a softmax does not see a bias

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean [B, D] of what the mask lets through, zeros where that is nothing, and the weights [B, L]."""
        weights_BL = masked_softmax(self.score(self.hidden(x_BLD).tanh())[:, :, 0], mask_BL)
        return (weights_BL[:, :, None] * x_BLD).sum(1), weights_BL
