"""Step after step with a memory: LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.config import EncoderConfig
from mmpipe.fusion.encoders.base import Encoded, Encoder, last_real, reversed_real


class Recurrent(Encoder):
    """`layers` recurrent layers; with `bidirectional` each also reads the real steps from the end.

    The vector is the memory after the last real step (of both directions). Padding comes after what is real, so a
    forward pass never sees it, and the backward one is fed the real steps in reverse.
    """

    reads_steps = True

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[config.kind]
        width, both = config.width, 2 if config.bidirectional else 1
        self.forwards, self.backwards, self.merges = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for layer in range(config.layers):
            into = width if layer else dim
            self.forwards.append(kind(into, width, batch_first=True))
            if config.bidirectional:
                self.backwards.append(kind(into, width, batch_first=True))
            self.merges.append(nn.Linear(both * width, width) if config.bidirectional else nn.Identity())
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Read the steps in order."""
        x_BSD, vector_BD = x_BSK, None
        for number, (ahead, merge) in enumerate(zip(self.forwards, self.merges, strict=True)):
            parts, ends = [ahead(x_BSD)[0]], []
            ends.append(last_real(parts[0], mask_BS))
            if len(self.backwards):
                back_BSD = self.backwards[number](reversed_real(x_BSD, mask_BS))[0]
                parts.append(reversed_real(back_BSD, mask_BS))
                ends.append(last_real(back_BSD, mask_BS))
            x_BSD = self.dropout(merge(torch.cat(parts, 2)))
            vector_BD = self.dropout(merge(torch.cat(ends, 1)))
        assert vector_BD is not None
        return Encoded(tokens_BSD=x_BSD, vector_BD=vector_BD)
