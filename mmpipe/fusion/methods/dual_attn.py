"""Co-attention: each modality says which tokens of the others count."""

from __future__ import annotations

from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from mmpipe.fusion.attention import masked_softmax, num_tokens
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("dual_attn")
class DualAttention(Fusion):
    """z = dropout(tanh(W mean_m v_m + b)), v_m = sum_s a_ms x_ms, with

    a_m = softmax over s of w_m . tanh(x_m W_m + mean_j C_mj x_j W_j), j going over the others.

    Parallel co-attention (Lu et al. 2016) with the affinity C_mj = tanh(x_m U_mj x_j^T), and C_jm its transpose; for
    more than two modalities the mean goes over the present others, as does that of z (Lu's sum is twice it, which W
    takes up). A modality of one token has nothing to choose: v_m is that token, and parts that nothing reads are not
    made. With a modality missing the others attend to themselves.

    Use it where few tokens of one modality matter, and another says which.
    """

    reads_tokens = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.z_dim = width = spec.encoder.width
        self.choosing = tuple(name for name, number in num_tokens(spec).items() if number > 1)
        self.project, self.score, self.affinity = ByFeature(), ByFeature(), ByFeature()
        for name in spec.features if self.choosing else ():
            self.project[name] = nn.Linear(width, width, bias=False)  # no bias: what is missing must add nothing
        for name in self.choosing:
            self.score[name] = nn.Linear(width, 1, bias=False)
        for one, other in combinations(spec.features, 2):
            if one in self.choosing or other in self.choosing:
                if one not in self.affinity:
                    self.affinity[one] = ByFeature()
                cast(ByFeature, self.affinity[one])[other] = nn.Linear(width, width, bias=False)
        self.mix = nn.Linear(width, width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Choose among the tokens of each modality, then add up what is present."""
        v_BMD = torch.stack([self._chosen(name, embedded) for name in embedded.tokens], 1)
        mean_BD = (v_BMD * embedded.equal_shares_BM()[:, :, None]).sum(1)
        return FusionOutput(z_BD=self.dropout(self.mix(mean_BD).tanh()))

    def attention(self, name: str, embedded: Embedded) -> Tensor:
        """Return the weights [B, S] of a modality's tokens, for one that has several."""
        others = [other for other in embedded.tokens if other != name]
        present_BO = torch.stack([embedded.present[other] for other in others], 1)
        shares_BO = present_BO / present_BO.sum(1, keepdim=True).clamp(min=1)
        h_BSD = self.project[name](embedded.tokens[name])
        for other, share_B in zip(others, shares_BO.unbind(1), strict=True):
            told_BSD = self._affinity(name, other, embedded) @ self.project[other](embedded.tokens[other])
            h_BSD = h_BSD + share_B[:, None, None] * told_BSD
        return masked_softmax(self.score[name](h_BSD.tanh())[:, :, 0], embedded.mask_BS(name))

    def _chosen(self, name: str, embedded: Embedded) -> Tensor:
        """Return a modality as one vector [B, D], zeros where it is missing."""
        x_BSD = embedded.tokens[name]
        if name not in self.choosing:
            return x_BSD[:, 0]
        return (self.attention(name, embedded)[:, :, None] * x_BSD).sum(1)

    def _affinity(self, name: str, other: str, embedded: Embedded) -> Tensor:
        """Return C [B, S, S of the other]; tokens are zero where they are not real, and so is what C says of them."""
        first, second = sorted((name, other))
        mapped_BSD = cast(ByFeature, self.affinity[first])[second](embedded.tokens[first])
        affinity_BST = (mapped_BSD @ embedded.tokens[second].transpose(1, 2)).tanh()
        return affinity_BST if name == first else affinity_BST.transpose(1, 2)
