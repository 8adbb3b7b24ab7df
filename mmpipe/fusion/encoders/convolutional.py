"""Convolutions over time: a plain network of them, and one that sees ever farther back.

Padding is set to zero before every layer, as if the sequence ended there.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from mmpipe.config import EncoderConfig
from mmpipe.fusion.encoders.base import Encoded, Encoder, last_real, masked_max


class Cnn(Encoder):
    """`layers` times (convolution over `kernel` steps, GELU, dropout), centred; the vector is the maximum over time.

    Kim 2014 for texts; with more layers, the usual 1-D network.
    """

    reads_steps = True

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        widths = [dim, *[config.width] * config.layers]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(into, out, config.kernel, padding=config.kernel // 2) for into, out in pairwise(widths)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Look at every step with its neighbours."""
        x_BSD = x_BSK
        for convolution in self.convolutions:
            x_BSD = self.dropout(gelu(_convolved(convolution, x_BSD, mask_BS)))
        return Encoded(tokens_BSD=x_BSD, vector_BD=masked_max(x_BSD, mask_BS))


class Tcn(Encoder):
    """`layers` residual blocks of two causal convolutions with dilation 1, 2, 4, ... (Bai, Kolter, Koltun 2018).

    The vector is the last real step, which has seen 1 + 2 (kernel - 1) (2^layers - 1) steps.
    """

    reads_steps = True

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, config.width)
        self.blocks = nn.ModuleList(
            _CausalBlock(config.width, config.kernel, 2**n, dropout) for n in range(config.layers)
        )

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Look at every step with what came before it."""
        x_BSD = self.enter(x_BSK)
        for block in self.blocks:
            x_BSD = block(x_BSD)
        return Encoded(tokens_BSD=x_BSD, vector_BD=last_real(x_BSD, mask_BS))


class _CausalBlock(nn.Module):
    """x + f(f(x)), f = dropout(GELU(causal convolution)); padding lies behind what is real and is never looked at."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, kernel, dilation=dilation) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Add what the past says."""
        y_BDS = x_BSD.transpose(1, 2)
        for convolution in self.convolutions:
            y_BDS = self.dropout(gelu(convolution(pad(y_BDS, (self.reach, 0)))))
        return x_BSD + y_BDS.transpose(1, 2)


def _convolved(convolution: nn.Module, x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    real_BSD = torch.where(mask_BS[:, :, None], x_BSD, 0.0)
    out_BSD: Tensor = convolution(real_BSD.transpose(1, 2)).transpose(1, 2)
    return out_BSD
