"""The whole network of a spec: preprocessing, encoders, fusion, heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mmpipe.fusion.backbones.bert import Bert, check_ids
from mmpipe.fusion.backbones.registry import load_backbone
from mmpipe.fusion.base import Embedded, Fusion
from mmpipe.fusion.byfeature import ByFeature, held_name
from mmpipe.fusion.encoders.base import Encoded
from mmpipe.fusion.encoders.registry import AfterBackbone, make_encoder, reads_steps
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.goals.joint import JointAnswers
from mmpipe.fusion.goals.registry import goal_part
from mmpipe.fusion.heads import make_head
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.fusion.imputers.registry import make_imputer
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared, Preprocess
from mmpipe.fusion.registry import make_fusion
from mmpipe.fusion.spec import ModelSpec


class FusionModel(nn.Module):
    """A network from stored features to an answer. A missing key is the same as an all-False mask."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, part = spec.encoder.width, goal_part(spec.goal)
        self.spec = spec
        self.fusion: Fusion = make_fusion(part.fused_spec(spec))
        self.goal: GoalPart = part(spec, self.fusion.z_dim)
        outputs = self.goal.num_outputs
        keeps_tokens = self.fusion.reads_tokens or part.reads_tokens
        self.preprocess = ByFeature()
        self.encoders = ByFeature()
        self.unimodal_heads = ByFeature()
        for entry in spec.inputs:
            encoder = spec.encoder_of(entry.feature)
            preprocess = Preprocess(entry, encoder, per_segment=keeps_tokens or reads_steps(encoder))
            self.preprocess[entry.feature] = preprocess
            self.encoders[entry.feature] = make_encoder(preprocess.dim, encoder, spec.dropout, entry.feature)
            if len(spec.inputs) > 1 and outputs is not None:
                self.unimodal_heads[entry.feature] = make_head(spec.head, width, outputs)
        has_head = outputs is not None and not self.fusion.decides
        self.joint = JointAnswers(spec, self.fusion.z_dim) if spec.also else None
        self.goal.build({name: (part.num_tokens, part.dim) for name, part in self.preprocessors.items()})
        self.head = make_head(spec.head, self.fusion.z_dim, outputs or 0) if has_head else None
        self.imputer = make_imputer(spec.imputer, self.prepared_widths) if spec.imputer else None

    @property
    def prepared_widths(self) -> tuple[int, ...]:
        """Return how many numbers each preprocessed feature is, in the order of the spec."""
        return tuple(part.num_tokens * part.dim for part in self.preprocessors.values())

    def impute_by(self, imputer: Imputer) -> None:
        """Have what a clip lacks filled in from what it has, before anything else sees it."""
        self.imputer, self.spec = imputer, replace(self.spec, imputer=imputer.spec)

    def load_backbones(self) -> None:
        """Give every backbone, and what answers, the weights that its config says; those of a new one are random."""
        for name, encoder in self.encoders.items():
            if isinstance(encoder, AfterBackbone) and (config := self.spec.encoder_of(name).backbone):
                load_backbone(encoder.backbone, config, f"encoders.{name}.backbone")
        self.goal.load_weights()

    def check_stored(self, features: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Raise ConfigError where stored ids are not those that a network has embeddings for."""
        for name, encoder in self.encoders.items():
            if isinstance(encoder, AfterBackbone) and isinstance(encoder.backbone, Bert) and name in features:
                check_ids(*features[name], encoder.backbone.num_ids, name)

    def forward(self, features: Mapping[str, tuple[Tensor, Tensor]]) -> FusionOutput:
        """Run on (x [B, T, D], mask [B, T]) by feature; features that are not in the spec are ignored."""
        return self.forward_prepared(self.prepare(features))

    @property
    def preprocessors(self) -> dict[str, Preprocess]:
        """Return the preprocessing by feature, in the order of the spec."""
        return {name: cast(Preprocess, self.preprocess[name]) for name in self.spec.features}

    def prefixes_of(self, feature: str) -> tuple[str, str]:
        """Return how the names of all parameters begin that belong to one feature alone."""
        return f"encoders.{held_name(feature)}.", f"unimodal_heads.{held_name(feature)}."

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
        if self.imputer is not None:
            prepared = self.imputer(prepared)
        embedded = self._embed(prepared)
        out: FusionOutput = self.fusion(self.goal.fused(embedded))
        if self.goal.num_outputs is None:
            return self.goal.read(out, embedded, prepared)
        logits_BK = out.logits_BK if self.head is None else self.head(out.z_BD)
        alone = {name: self.unimodal_heads[name](x_BW) for name, x_BW in out.alone.items()}
        out = replace(out, logits_BK=logits_BK, per_modality=alone or embedded.logits)
        return self.joint(out) if self.joint is not None else out

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the answers [B, ...] of a batch: of classes their probabilities."""
        return self.goal.answers(out)

    def embed(self, feature: str, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return a feature's embedding [B, W] before it is fused, or in the goal's own space; zeros where missing."""
        prepared: Prepared = self.preprocessors[feature](x_BTD, mask_BT)
        encoded: Encoded = self.encoders[feature](prepared.x_BSK, prepared.real_BS)
        return torch.where(prepared.present_B[:, None], self.goal.view(feature, encoded.vector_BD), 0.0)

    def _embed(self, prepared: Mapping[str, Prepared]) -> Embedded:
        tokens, vectors, masks = {}, {}, {}
        for name, encoder in self.encoders.items():
            part = prepared[name]
            masks[name] = part.real_BS
            encoded: Encoded = encoder(part.x_BSK, masks[name])
            tokens[name] = torch.where(masks[name][:, :, None], encoded.tokens_BSD, 0.0)
            vectors[name] = torch.where(part.present_B[:, None], encoded.vector_BD, 0.0)
        logits = {name: head(vectors[name]) for name, head in self.unimodal_heads.items()}
        present = {name: prepared[name].present_B for name in tokens}
        return Embedded(tokens=tokens, present=present, logits=logits, vectors=vectors, masks=masks)

    def _missing(self, name: str, batch: int) -> Prepared:
        preprocess = self.preprocessors[name]
        device = preprocess.mean_F.device
        x_BSK = torch.zeros(batch, preprocess.num_tokens, preprocess.dim, device=device)
        return Prepared(x_BSK=x_BSK, present_B=torch.zeros(batch, dtype=torch.bool, device=device))
