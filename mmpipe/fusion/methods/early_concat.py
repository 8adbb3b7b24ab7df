"""One network over time that reads all modalities at every step."""

from __future__ import annotations

from enum import StrEnum

import torch
from pydantic import Field
from torch import Tensor

from mmpipe.config import EncoderConfig, EncoderKind, Table
from mmpipe.fusion.base import Embedded, Fusion, require_fused
from mmpipe.fusion.encoders.registry import make_encoder
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec
from mmpipe.types import FeatureKind


class Cell(StrEnum):
    """What reads the steps."""

    GRU = "gru"
    LSTM = "lstm"
    TRANSFORMER = "transformer"


class EarlyConcatOptions(Table):
    """What reads the steps, and how deep it is."""

    cell: Cell = Field(Cell.GRU, description="what reads the steps")
    layers: int = Field(1, ge=1, le=12, description="of it, one on the other")


@register_fusion("early_concat")
class EarlyConcat(Fusion):
    """z = last state of RNN(x_1, .., x_N), with x_s = [h_1s; ..; h_Ms] * M / (number present).

    Early fusion over aligned time: the EF-LSTM of Williams et al. 2018, here with a GRU, an LSTM, or a transformer
    encoder in place of the RNN. A clip has as many steps N as its longest modality; step s of another one with n steps
    is its own floor(s n / N), so one without time stands beside every step. h_ms = 0 where m is missing.

    Use it where modalities move together in time, as lips and voice do.
    """

    reads_tokens = True
    Options = EarlyConcatOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: EarlyConcatOptions = self.read_options(spec)
        self.z_dim = spec.encoder.width
        heads = next(heads for heads in (4, 2, 1) if self.z_dim % heads == 0)
        steps = [spec.encoder_of(e.feature).num_steps for e in spec.inputs if e.kind is FeatureKind.SEQUENCE]
        reader = EncoderConfig(
            kind=EncoderKind(options.cell),
            width=self.z_dim,
            layers=options.layers,
            heads=heads,
            steps=max(steps, default=1),
        )
        self.reader = make_encoder(len(spec.inputs) * self.z_dim, reader, spec.dropout)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Read what is present, step by step."""
        x_BSE, mask_BS = _aligned(embedded)
        return FusionOutput(z_BD=self.reader(x_BSE * embedded.fill_B1()[:, :, None], mask_BS).vector_BD)


def _aligned(embedded: Embedded) -> tuple[Tensor, Tensor]:
    """Return the modalities side by side at every step, [B, S, M * D], and which steps are real, [B, S]."""
    lengths = {name: embedded.mask_BS(name).sum(1) for name in embedded.tokens}
    num_steps_B = torch.stack(list(lengths.values()), 1).amax(1)
    longest = max(tokens_BSD.shape[1] for tokens_BSD in embedded.tokens.values())
    steps_S = torch.arange(longest, device=num_steps_B.device)
    parts = []
    for name, tokens_BSD in embedded.tokens.items():
        where_BS = steps_S * lengths[name][:, None] // num_steps_B.clamp(min=1)[:, None]
        where_BS1 = where_BS.clamp(max=tokens_BSD.shape[1] - 1)[:, :, None]
        parts.append(tokens_BSD.gather(1, where_BS1.expand(-1, -1, tokens_BSD.shape[2])))
    return torch.cat(parts, 2), steps_S < num_steps_B[:, None]
