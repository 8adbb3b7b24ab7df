"""Gated multimodal units: every dimension of every modality has its own gate."""

from __future__ import annotations

import torch
from torch import nn

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("gmu")
class Gmu(Fusion):
    """z = sum_m sigmoid(U_m [h_1; ..; h_M] + b_m) * tanh(V_m h_m), elementwise over the present.

    The gated multimodal unit for several modalities of Arevalo et al. 2017. With h_m = 0 where m is missing its term
    is 0, as V_m has no bias, and the other gates read zeros. A modality's share is its mean gate, of their sum.

    Use it where it changes from clip to clip which modality is worth listening to.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        num_inputs, width = len(spec.inputs), spec.encoder.width
        self.gates = nn.Linear(num_inputs * width, num_inputs * width)  # U_1 .. U_M, one below the other
        self.values = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in spec.inputs)  # V_m
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Add up what the gates let through of what is present."""
        h_BMD, present_BM = embedded.vectors_BMD(), embedded.present_BM()
        gates_BMD = self.gates(h_BMD.flatten(1)).unflatten(1, h_BMD.shape[1:]).sigmoid() * present_BM[:, :, None]
        values = [value(h_BD).tanh() for value, h_BD in zip(self.values, h_BMD.unbind(1), strict=True)]
        z_BD = (gates_BMD * torch.stack(values, 1)).sum(1)
        open_BM = gates_BMD.mean(2)
        shares_BM = open_BM / torch.where(present_BM.any(1, keepdim=True), open_BM.sum(1, keepdim=True), 1.0)
        return FusionOutput(z_BD=self.dropout(z_BD), weights=weights_by_feature(self.spec, shares_BM))
