"""What a backbone is: raw steps in, features of each step out."""

from __future__ import annotations

from torch import Tensor, nn


class Backbone(nn.Module):
    """Turn stored steps [B, S, K] into features [B, S, dim]; real steps come first, what others give does not count."""

    dim: int

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Tensor:
        """Look at every step."""
        raise NotImplementedError
