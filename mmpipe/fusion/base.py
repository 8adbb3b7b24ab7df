"""What a fusion is given, what it must be, and the one rule that all share: normalise over what is present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Encoded features of a batch, in the order of the spec's inputs; zero where a modality is missing."""

    tokens: Mapping[str, Tensor]  # [B, S, D]; S = 1 unless the fusion reads tokens
    present: Mapping[str, Tensor]  # [B] bool
    logits: Mapping[str, Tensor]  # [B, K] class scores from one modality alone; empty for a single input

    def vectors_BMD(self) -> Tensor:
        """Return one vector per modality: the mean of its tokens."""
        return torch.stack([tokens_BSD.mean(1) for tokens_BSD in self.tokens.values()], 1)

    def present_BM(self) -> Tensor:
        """Return which modality is there for which clip."""
        return torch.stack(list(self.present.values()), 1)


class Fusion(nn.Module):
    """A fusion: built from a spec, it turns `Embedded` into `FusionOutput`.

    A row of which nothing is present must still give finite numbers. `forward` must not branch on data (export).
    """

    reads_tokens: ClassVar[bool] = False  # True: S ordered tokens per sequence; False: one vector per modality
    decides: ClassVar[bool] = False  # True: fills `logits_BK`; False: a linear head on z decides
    mixing: ClassVar[
        tuple[str, ...]
    ] = ()  # parameters that weigh modalities, 0 = all equal: fitted on validation clips
    z_dim: int

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Fuse a batch."""
        raise NotImplementedError


def shares_of_present(scores_M: Tensor, present_BM: Tensor) -> Tensor:
    """Return softmax(scores) renormalised over what is present, [B, M]; a row with nothing present gets zeros."""
    raw_BM = torch.where(present_BM, (scores_M - scores_M.max()).exp(), 0.0)
    total_B1 = raw_BM.sum(1, keepdim=True)
    return raw_BM / torch.where(total_B1 > 0, total_B1, 1.0)


def weights_by_feature(spec: ModelSpec, shares_BM: Tensor) -> dict[str, Tensor]:
    """Return the columns of `shares_BM` under the names of the inputs."""
    return dict(zip(spec.features, shares_BM.unbind(1), strict=True))


def require_fused(spec: ModelSpec) -> None:
    """Refuse a fusion of one input."""
    if len(spec.inputs) < 2:
        raise ConfigError(
            f"the fusion {spec.fusion!r} needs at least two inputs, got {list(spec.features)}; "
            "for a single one use 'unimodal'"
        )
