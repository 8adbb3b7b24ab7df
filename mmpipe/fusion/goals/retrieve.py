"""Clips of one side find those of another, in a space that both share.

Axes: B clips, D dimensions of the shared space, W width of an encoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmpipe.config.retrieving import RetrieveOptions, Sides, sides_of
from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec

MAX_LOG_SCALE = math.log(100.0)  # as CLIP bounds it: past it a few hard pairs are all that counts


class Temperature(nn.Module):
    """A learnt 1 / tau, kept between 1 and 100 (Radford et al. 2021 start at tau = 0.07)."""

    def __init__(self, tau: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def forward(self) -> Tensor:
        """Return the scale of similarities, once a forward pass; in training, what lies outside is put to the bound."""
        if self.training:  # a clamp alone has no gradient outside: what once left would never come back
            with torch.no_grad():
                self.log_scale.clamp_(0.0, MAX_LOG_SCALE)
        return self.log_scale.clamp(0.0, MAX_LOG_SCALE).exp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Both sides and every feature alone in the shared space: unit vectors [B, D], zeros where there is nothing."""

    query_BD: Tensor
    item_BD: Tensor
    has_query_B: Tensor
    has_item_B: Tensor
    views: Mapping[str, Tensor]
    present: Mapping[str, Tensor]  # feature -> [B] bool
    scale: Tensor  # of similarities, 1 / tau


class Retrieve(GoalPart):
    """Every feature has a view, P_m h_m / |P_m h_m|; so has the fusion of the side with several, P z / |P z|.

    A side of one feature is its view. The fusion reads its own side alone: what it made of both would know the answer.
    Coordinated representations as in Baltrusaitis et al. 2019, trained as CLIP is (Radford et al. 2021).
    """

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        options = RetrieveOptions(**spec.goal_options)
        self.sides, self.dim = _sides(spec), options.dim
        self.views = ByFeature()
        for name in spec.features:
            self.views[name] = nn.Linear(spec.encoder.width, options.dim)
        self.joint = nn.Linear(z_dim, options.dim) if len(self.sides.fused) > 1 else None
        self.temperature = Temperature(options.temperature)

    @classmethod
    def fused_spec(cls, spec: ModelSpec) -> ModelSpec:
        """Return the spec of the fusion: it reads one side."""
        fused = set(_sides(spec).fused)
        return replace(
            spec,
            inputs=tuple(entry for entry in spec.inputs if entry.feature in fused),
            encoders={name: config for name, config in spec.encoders.items() if name in fused},
        )

    def fused(self, embedded: Embedded) -> Embedded:
        """Return what the fusion reads."""
        return embedded.only(self.sides.fused)

    def read(self, out: FusionOutput, embedded: Embedded, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Return the output with both sides in the shared space."""
        views = {name: self.view(name, embedded.vectors[name]) for name in embedded.tokens}
        views = {name: _only(view_BD, embedded.present[name]) for name, view_BD in views.items()}
        sides = {}
        for names in (self.sides.query, self.sides.items):
            has_B = torch.stack([embedded.present[name] for name in names]).any(0)
            is_joint = self.joint is not None and names == self.sides.fused
            sides[names] = (_only(self._joined(out.z_BD), has_B) if is_joint else views[names[0]], has_B)
        (query_BD, has_query_B), (item_BD, has_item_B) = sides[self.sides.query], sides[self.sides.items]
        return replace(
            out,
            answer=Matched(
                query_BD=query_BD,
                item_BD=item_BD,
                has_query_B=has_query_B,
                has_item_B=has_item_B,
                views=views,
                present=dict(embedded.present),
                scale=self.temperature(),
            ),
        )

    def view(self, feature: str, vector_BW: Tensor) -> Tensor:
        """Return a feature's encoded vectors as unit vectors of the shared space, [B, D]."""
        return normalize(self.views[feature](vector_BW), dim=1)

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the asking side and what is found, [B, 2, D]."""
        matched = matched_of(out)
        return torch.stack([matched.query_BD, matched.item_BD], 1)

    def _joined(self, z_BD: Tensor) -> Tensor:
        assert self.joint is not None, "a side of several features has one"
        return normalize(self.joint(z_BD), dim=1)


def matched_of(out: FusionOutput) -> Matched:
    """Return what `read` put into an output."""
    assert isinstance(out.answer, Matched), "`read` makes it"
    return out.answer


def _only(view_BD: Tensor, has_B: Tensor) -> Tensor:
    return torch.where(has_B[:, None], view_BD, 0.0)


def _sides(spec: ModelSpec) -> Sides:
    try:
        return sides_of(spec.features, RetrieveOptions(**spec.goal_options).query)
    except ValueError as error:
        raise ConfigError(str(error)) from error
