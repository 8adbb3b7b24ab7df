"""The whole network of a spec: preprocessing, encoders, fusion, heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mmpipe.fusion.base import Embedded, Fusion
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.encoders import Encoder
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared, Preprocess
from mmpipe.fusion.registry import make_fusion
from mmpipe.fusion.spec import ModelSpec


class FusionModel(nn.Module):
    """A network from stored features to class scores. A missing key is the same as an all-False mask."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, num_classes = spec.encoder.width, len(spec.classes)
        self.spec = spec
        self.fusion: Fusion = make_fusion(spec)
        self.preprocess = ByFeature()
        self.encoders = ByFeature()
        self.unimodal_heads = ByFeature()
        for entry in spec.inputs:
            preprocess = Preprocess(entry, spec.encoder, per_segment=self.fusion.reads_tokens)
            self.preprocess[entry.feature] = preprocess
            self.encoders[entry.feature] = Encoder(preprocess.dim, spec.encoder, spec.dropout)
            if len(spec.inputs) > 1:
                self.unimodal_heads[entry.feature] = nn.Linear(width, num_classes)
        self.head = None if self.fusion.decides else nn.Linear(self.fusion.z_dim, num_classes)

    def forward(self, features: Mapping[str, tuple[Tensor, Tensor]]) -> FusionOutput:
        """Run on (x [B, T, D], mask [B, T]) by feature; features that are not in the spec are ignored."""
        return self.forward_prepared(self.prepare(features))

    @property
    def preprocessors(self) -> dict[str, Preprocess]:
        """Return the preprocessing by feature, in the order of the spec."""
        return {name: cast(Preprocess, self.preprocess[name]) for name in self.spec.features}

    def prepare(self, features: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Prepared]:
        """Preprocess a batch: the part of `forward` without trained parameters."""
        known = [name for name in self.spec.features if name in features]
        if not known:
            raise ValueError(f"none of the model's features {list(self.spec.features)} is among {sorted(features)}")
        batch = features[known[0]][0].shape[0]
        return {
            name: self.preprocess[name](*features[name]) if name in features else self._missing(name, batch)
            for name in self.spec.features
        }

    def forward_prepared(self, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Run on preprocessed features: the same result as `forward`."""
        embedded = self._embed(prepared)
        out: FusionOutput = self.fusion(embedded)
        logits_BK = out.logits_BK if self.head is None else self.head(out.z_BD)
        return replace(out, logits_BK=logits_BK, per_modality=embedded.logits)

    def embed(self, feature: str, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return a feature's embedding [B, W] before it is fused: the mean of its tokens, zeros where it is missing."""
        prepared = self.preprocessors[feature](x_BTD, mask_BT)
        tokens_BSW = self.encoders[feature](prepared.x_BSK)
        return torch.where(prepared.present_B[:, None], tokens_BSW.mean(1), 0.0)

    def _embed(self, prepared: Mapping[str, Prepared]) -> Embedded:
        tokens = {}
        for name, encoder in self.encoders.items():
            part = prepared[name]
            tokens[name] = torch.where(part.present_B[:, None, None], encoder(part.x_BSK), 0.0)
        logits = {name: head(tokens[name].mean(1)) for name, head in self.unimodal_heads.items()}
        return Embedded(tokens=tokens, present={name: prepared[name].present_B for name in tokens}, logits=logits)

    def _missing(self, name: str, batch: int) -> Prepared:
        preprocess = self.preprocessors[name]
        device = preprocess.mean_F.device
        x_BSK = torch.zeros(batch, preprocess.num_tokens, preprocess.dim, device=device)
        return Prepared(x_BSK=x_BSK, present_B=torch.zeros(batch, dtype=torch.bool, device=device))
