"""Encoders by the name of their kind."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from mmpipe.config import EncoderConfig, EncoderKind
from mmpipe.fusion.backbones.base import Backbone
from mmpipe.fusion.backbones.registry import make_backbone
from mmpipe.fusion.encoders.attention import TransformerEncoder
from mmpipe.fusion.encoders.base import Encoded, Encoder
from mmpipe.fusion.encoders.convolutional import Cnn, Tcn
from mmpipe.fusion.encoders.mlp import Identity, Mlp
from mmpipe.fusion.encoders.recurrent import Recurrent

KINDS: dict[EncoderKind, type[Encoder]] = {
    EncoderKind.MLP: Mlp,
    EncoderKind.IDENTITY: Identity,
    EncoderKind.CNN: Cnn,
    EncoderKind.TCN: Tcn,
    EncoderKind.LSTM: Recurrent,
    EncoderKind.GRU: Recurrent,
    EncoderKind.TRANSFORMER: TransformerEncoder,
}


class AfterBackbone(Encoder):
    """A backbone for every stored step, then the encoder over what it says of them."""

    reads_steps = True

    def __init__(self, backbone: Backbone, encoder: Encoder, *, frozen: bool) -> None:
        super().__init__()
        self.backbone, self.encoder, self.frozen = backbone, encoder, frozen
        if frozen:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Train all but a frozen backbone, whose running statistics stay too."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Look at the steps, then across them."""
        features_BSF = self.backbone(x_BSK, mask_BS)
        encoded: Encoded = self.encoder(torch.where(mask_BS[:, :, None], features_BSF, 0.0), mask_BS)
        return encoded


def make_encoder(dim: int, config: EncoderConfig, dropout: float, feature: str = "the input") -> Encoder:
    """Build the encoder that a config names, for inputs of `dim` numbers a step; raise ConfigError."""
    kind: type[Encoder] = KINDS[config.kind]
    if config.backbone is None:
        return kind(dim, config, dropout)
    backbone = make_backbone(config.backbone, dim, dropout, feature)
    return AfterBackbone(backbone, kind(backbone.dim, config, dropout), frozen=config.backbone.frozen)


def reads_steps(config: EncoderConfig) -> bool:
    """Say whether the encoder looks at the steps of a sequence, not at all of them in one."""
    return config.backbone is not None or KINDS[config.kind].reads_steps
