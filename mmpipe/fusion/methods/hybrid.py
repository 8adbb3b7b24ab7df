"""A joint decision mixed with the modalities' own."""

from __future__ import annotations

import torch
from torch import nn

from mmpipe.fusion.base import ABSENT, Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.heads import make_head
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("hybrid")
class Hybrid(Fusion):
    """p(y) = g_0 softmax(MLP[h_1; ..; h_M]) + sum_m g_m softmax(l_m), g = softmax(w) over joint and present.

    Early and late fusion in one, as the survey of Atrey et al. 2010 calls hybrid. The MLP reads [h_1; ..; h_M] *
    M / (number present), with h_m = 0 where m is missing. z is its hidden layer, logits are log p.

    Use it where modalities both add up and can decide alone.
    """

    decides = True
    mixing = ("scores_J",)

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        self.scores_J = nn.Parameter(torch.zeros(1 + len(spec.inputs)))  # the joint decision, then the inputs'
        self.mix = nn.Sequential(
            nn.Linear(len(spec.inputs) * spec.encoder.width, self.z_dim), nn.GELU(), nn.Dropout(spec.dropout)
        )
        self.joint = make_head(spec.head, self.z_dim, len(spec.classes))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Mix the joint decision with those of what is present; with nothing present only the joint one is left."""
        z_BD = self.mix(embedded.vectors_BMD().flatten(1) * embedded.fill_B1())
        logits_BJK = torch.cat([self.joint(z_BD)[:, None], embedded.logits_BMK()], 1)
        present_BM = embedded.present_BM()
        there_BJ = torch.cat([torch.ones_like(present_BM[:, :1]), present_BM], 1)
        log_shares_BJ = torch.where(there_BJ, self.scores_J, ABSENT).log_softmax(1)
        logits_BK = (log_shares_BJ[:, :, None] + logits_BJK.log_softmax(2)).logsumexp(1)
        weights = weights_by_feature(self.spec, log_shares_BJ[:, 1:].exp())  # what is left to 1 has the joint decision
        return FusionOutput(z_BD=z_BD, logits_BK=logits_BK, weights=weights)
