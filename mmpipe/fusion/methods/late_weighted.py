"""A weighted mean of the modalities' own decisions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.fusion.base import ABSENT, Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.shares import WeightOptions, fixed_scores
from mmpipe.fusion.spec import ModelSpec


@register_fusion("late_weighted")
class LateWeighted(Fusion):
    """p(y) = sum_m g_m softmax(l_m / T_m), with g = softmax over the present; for two modalities gamma + delta = 1.

    Decision-level fusion: the sum rule of Kittler et al. 1998 with learned weights; with `weights` they are fixed.
    The learned temperature T_m > 0 lets a modality that is often wrong speak softly. Logits are log p; z is the
    embeddings' sum under the same g.

    Use it where each modality can decide alone, and one is often missing.
    """

    decides = True
    Options = WeightOptions
    scores_M: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        options: WeightOptions = self.read_options(spec)
        self.mixing = ("log_temperature_M",) if options.weights else ("scores_M", "log_temperature_M")
        if options.weights:
            self.register_buffer("scores_M", fixed_scores(spec, options.weights), persistent=False)
        else:
            self.scores_M = nn.Parameter(torch.zeros(len(spec.inputs)))
        self.log_temperature_M = nn.Parameter(torch.zeros(len(spec.inputs)))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Mix the decisions of what is present; with nothing present, of the heads' biases."""
        present_BM = embedded.present_BM()
        log_shares_BM = torch.where(present_BM, self.scores_M, ABSENT).log_softmax(1)
        logits_BMK = torch.stack(list(embedded.logits.values()), 1) * (-self.log_temperature_M).exp()[:, None]
        logits_BK = (log_shares_BM[:, :, None] + logits_BMK.log_softmax(2)).logsumexp(1)
        shares_BM = log_shares_BM.exp()
        z_BD = (shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1)
        return FusionOutput(z_BD=z_BD, logits_BK=logits_BK, weights=weights_by_feature(self.spec, shares_BM))
