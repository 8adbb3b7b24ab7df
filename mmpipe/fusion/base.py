"""What a fusion is given, what it must be, and the one rule that all share: normalise over what is present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmpipe.config import Goal, Table, explain_validation
from mmpipe.errors import ConfigError
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec

ABSENT = -1e4  # a score whose softmax is exactly 0 beside any real one, and finite where nothing is present


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Encoded features of a batch, in the order of the spec's inputs; zero where a modality is missing."""

    tokens: Mapping[str, Tensor]  # [B, S, D]; S = 1 unless the fusion reads tokens
    present: Mapping[str, Tensor]  # [B] bool
    logits: Mapping[str, Tensor]  # [B, K] class scores from one modality alone; empty for a single input
    vectors: Mapping[str, Tensor] = field(default_factory=dict)  # [B, D] a modality as one; none: its tokens' mean
    masks: Mapping[str, Tensor] = field(default_factory=dict)  # [B, S] bool, real tokens; none: all if present

    def vectors_BMD(self) -> Tensor:
        """Return one vector per modality, as its encoder sums it up."""
        return torch.stack([self.vectors.get(name, x_BSD.mean(1)) for name, x_BSD in self.tokens.items()], 1)

    def only(self, names: Sequence[str]) -> Embedded:
        """Return some of the modalities, in the order of the spec's inputs."""
        return Embedded(
            **{
                part: {name: value for name, value in getattr(self, part).items() if name in names}
                for part in ("tokens", "present", "logits", "vectors", "masks")
            }
        )

    def mask_BS(self, name: str) -> Tensor:
        """Return which tokens of a modality are real."""
        whole_BS = self.present[name][:, None].expand(self.tokens[name].shape[:2])
        return self.masks.get(name, whole_BS)

    def logits_BMK(self) -> Tensor:
        """Return the class scores from each modality alone."""
        return torch.stack(list(self.logits.values()), 1)

    def present_BM(self) -> Tensor:
        """Return which modality is there for which clip."""
        return torch.stack(list(self.present.values()), 1)

    def equal_shares_BM(self) -> Tensor:
        """Return 1 / (number present) for what is present, else 0."""
        present_BM = self.present_BM().to(self._dtype)
        return present_BM / present_BM.sum(1, keepdim=True).clamp(min=1)

    def fill_B1(self) -> Tensor:
        """Return M / (number present): times it, a sum over modalities keeps its size when one is missing."""
        present_BM = self.present_BM().to(self._dtype)
        return present_BM.shape[1] / present_BM.sum(1, keepdim=True).clamp(min=1)

    @property
    def _dtype(self) -> torch.dtype:
        return next(iter(self.tokens.values())).dtype


class NoOptions(Table):
    """A fusion with nothing to choose."""


class Fusion(nn.Module):
    """A fusion: built from a spec, it turns `Embedded` into `FusionOutput`.

    What can be chosen about it is a config table, `Options`, read by `read_options`. A row of which nothing is present
    must still give finite numbers. `forward` must not branch on data (export). Its docstring is what `mmpipe fusions`
    tells: a formula that ends with a full stop, paragraphs that name authors and year, and one that begins "Use it".
    """

    reads_tokens: ClassVar[bool] = False  # True: S ordered tokens per sequence; False: one vector per modality
    decides: ClassVar[bool] = False  # True: fills `logits_BK`; False: a linear head on z decides
    # Of those that decide: the goals whose answers they may mix. Others leave the decision to the goal's own head.
    goals: ClassVar[frozenset[Goal]] = frozenset({Goal.CLASSIFY})
    experts: ClassVar[bool] = False  # True: each modality learns as if alone, so each keeps its own best epoch
    mixing: tuple[str, ...] = ()  # parameters that weigh modalities, 0 = all equal: fitted on validation clips
    Options: ClassVar[type[Table]] = NoOptions
    z_dim: int

    @classmethod
    def read_options(cls, spec: ModelSpec) -> Any:
        """Return the fusion's own options with their defaults; raise ConfigError for one that it does not take."""
        try:
            return cls.Options(**spec.options)
        except ValidationError as error:
            raise ConfigError(explain_validation(error, f"fusion_options.{spec.fusion}", cls.Options)) from error

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
