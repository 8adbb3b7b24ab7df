"""From a vector to class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.config import HeadKind


class OneLogit(nn.Module):
    """Two classes from one number l: scores (0, l), whose softmax is (1 - sigmoid(l), sigmoid(l)).

    Softmax cross-entropy of these scores is binary cross-entropy of l, so everything after a head stays as it is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Return the scores, [B, 2]."""
        logit_B1 = self.linear(z_BD)
        return torch.cat([torch.zeros_like(logit_B1), logit_B1], 1)


def make_head(kind: HeadKind, width: int, num_classes: int) -> nn.Module:
    """Build a linear head; the spec has checked that a sigmoid has two classes."""
    return OneLogit(width) if kind is HeadKind.SIGMOID else nn.Linear(width, num_classes)
