"""Every step looks at all others (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from mmpipe.config import EncoderConfig
from mmpipe.fusion.encoders.base import Encoded, Encoder, masked_mean


class TransformerEncoder(Encoder):
    """`layers` pre-norm blocks of `heads` heads over the real steps, with learnt positions; the vector is the mean."""

    reads_steps = True

    def __init__(self, dim: int, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, config.width)
        self.position_SD = nn.Parameter(torch.randn(config.num_steps, config.width) * 0.02)
        self.blocks = nn.ModuleList(_Block(config.width, config.heads, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Let the steps look at each other."""
        x_BSD = self.enter(x_BSK) + self.position_SD[: x_BSK.shape[1]]
        # A row without a real step looks at its own zeros: finite, and set to zero afterwards by who asked.
        seen_BS = mask_BS | ~mask_BS.any(1, keepdim=True)
        for block in self.blocks:
            x_BSD = block(x_BSD, seen_BS)
        tokens_BSD = self.norm(x_BSD)
        return Encoded(tokens_BSD=tokens_BSD, vector_BD=masked_mean(tokens_BSD, mask_BS))


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Return the new steps."""
        parts = self.query_key_value(self.norm_attention(x_BSD)).unflatten(2, (3, self.heads, -1))
        q_BHSd, k_BHSd, v_BHSd = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BHSd = scaled_dot_product_attention(q_BHSd, k_BHSd, v_BHSd, attn_mask=mask_BS[:, None, None, :])
        x_BSD = x_BSD + self.dropout(self.out(mixed_BHSd.transpose(1, 2).flatten(2)))
        out_BSD: Tensor = x_BSD + self.dropout(self.hidden(self.norm_hidden(x_BSD)))
        return out_BSD
