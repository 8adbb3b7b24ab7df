"""A pooling of the modalities that learns where it stands between their mean and their maximum."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import nn

from mmpipe import Embedded, Fusion, FusionOutput, ModelSpec, Table, require_fused, weights_by_feature


class LsePoolOptions(Table):
    """Where the learning begins."""

    sharpness: float = Field(1.0, gt=0, le=100, description="begins here: near 0 the mean, large the maximum")


class LsePool(Fusion):
    """z = log(mean_m exp(t h_m)) / t, elementwise over the present; t > 0 is learnt.

    Log-sum-exp pooling, as Pinheiro and Collobert 2015 pool pixels. A modality's share is its mean weight in the sum.

    Use it where it is not known whether agreement or the one strong modality should count.
    """

    Options = LsePoolOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(self.read_options(spec).sharpness)))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Pool what is present; where nothing is, the embedding is zero."""
        sharpness = self.log_sharpness.exp().clamp(1e-3, 1e3)
        present_BM1 = embedded.present_BM()[:, :, None]
        any_B1 = present_BM1.any(1)
        scaled_BMD = torch.where(present_BM1, sharpness * embedded.vectors_BMD(), -1e9)
        weights_BMD = scaled_BMD.softmax(1) * present_BM1
        count_B1 = present_BM1.sum(1).clamp(min=1)
        z_BD = (scaled_BMD.logsumexp(1) - count_B1.log()) / sharpness
        return FusionOutput(
            z_BD=torch.where(any_B1, z_BD, 0.0), weights=weights_by_feature(self.spec, weights_BMD.mean(2))
        )
