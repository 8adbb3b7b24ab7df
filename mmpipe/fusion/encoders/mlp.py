"""Every step alone: a linear map, or a few layers; or nothing at all."""

from __future__ import annotations

from torch import Tensor, nn

from mmpipe.config import EncoderConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.encoders.base import Encoded, Encoder, masked_mean


class Mlp(Encoder):
    """`hidden_layers` times (linear, GELU, dropout), then linear and dropout; with none it is a linear map."""

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.hidden_layers):
            layers += [nn.Linear(dim, config.width), nn.GELU(), nn.Dropout(dropout)]
            dim = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(dim, config.width), nn.Dropout(dropout))

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Encode every step alone; the vector is their mean."""
        tokens_BSD: Tensor = self.layers(x_BSK)
        return Encoded(tokens_BSD=tokens_BSD, vector_BD=masked_mean(tokens_BSD, mask_BS))


class Identity(Encoder):
    """What comes in goes out: the preprocessed feature itself, which must have the shared width."""

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        if dim != config.width:
            raise ConfigError(
                f"encoder.kind = 'identity' hands on {dim} numbers, and encoder.width is {config.width}. "
                f"Set width = {dim}, or components = {config.width}"
            )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Hand on; the vector is the mean."""
        tokens_BSD = self.dropout(x_BSK)
        return Encoded(tokens_BSD=tokens_BSD, vector_BD=masked_mean(tokens_BSD, mask_BS))
