"""What a decoder looks at: the tokens of all modalities that are present, and the fused vector.

Axes: B clips, L tokens, D width, S tokens of one modality, M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmpipe.fusion.attention import all_tokens, learned, num_tokens
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Tokens of clips; the last one is the fused vector, which is always there, so no clip is without a token."""

    tokens_BLD: Tensor
    mask_BL: Tensor  # bool

    def take(self, rows_R: Tensor) -> Memory:
        """Return these clips."""
        return Memory(tokens_BLD=self.tokens_BLD[rows_R], mask_BL=self.mask_BL[rows_R])


class MemoryMaker(nn.Module):
    """[h_1 + type_1 + position; ..; h_M + type_M + position; W z], layer-normed; a missing modality is masked."""

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__()
        width = spec.encoder.width
        self.type_MD = learned(len(spec.inputs), width)
        self.position_SD = learned(max(num_tokens(spec).values()), width)
        self.fused = nn.Linear(z_dim, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, z_BD: Tensor, embedded: Embedded) -> Memory:
        """Put everything in a row."""
        tokens_BLD, mask_BL = all_tokens(embedded, self.type_MD, self.position_SD)
        fused_B1D = self.fused(z_BD)[:, None]
        every_B1 = torch.ones(z_BD.shape[0], 1, dtype=torch.bool, device=z_BD.device)
        return Memory(
            tokens_BLD=self.norm(torch.cat([tokens_BLD, fused_B1D], 1)), mask_BL=torch.cat([mask_BL, every_B1], 1)
        )
