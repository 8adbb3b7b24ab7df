"""Encoders: from a preprocessed feature to the width that all modalities share."""

from __future__ import annotations

from torch import Tensor, nn

from mmpipe.config import EncoderConfig


class Encoder(nn.Module):
    """`hidden_layers` times (linear, GELU, dropout), then linear and dropout; with none it is a linear map.

    Works on the last axis: [B, S, dim] -> [B, S, width].
    """

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.hidden_layers):
            layers += [nn.Linear(dim, config.width), nn.GELU(), nn.Dropout(dropout)]
            dim = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(dim, config.width), nn.Dropout(dropout))

    def forward(self, x_BSK: Tensor) -> Tensor:
        """Encode every token alone."""
        out_BSD: Tensor = self.layers(x_BSK)
        return out_BSD
