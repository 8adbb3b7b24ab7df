"""A weighted sum of the modalities' embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.fusion.base import Embedded, Fusion, require_fused, shares_of_present, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.shares import WeightOptions, fixed_scores
from mmpipe.fusion.spec import ModelSpec


@register_fusion("early_weighted")
class EarlyWeighted(Fusion):
    """z = sum_m a_m h_m with a = p * softmax(w), renormalised over the present; for two modalities alpha + beta = 1.

    Feature-level fusion as in Baltrusaitis, Ahuja, Morency 2019 (a survey). w is learned, equal at the start; with
    `weights` it is fixed.

    Use it first: the fewest parameters, and hard to beat on few clips.
    """

    Options = WeightOptions
    scores_M: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        options: WeightOptions = self.read_options(spec)
        if options.weights:
            self.register_buffer("scores_M", fixed_scores(spec, options.weights), persistent=False)
        else:
            self.scores_M = nn.Parameter(torch.zeros(len(spec.inputs)))
            self.mixing = ("scores_M",)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Add up what is present."""
        shares_BM = shares_of_present(self.scores_M, embedded.present_BM())
        z_BD = (shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1)
        return FusionOutput(z_BD=z_BD, weights=weights_by_feature(self.spec, shares_BM))
