"""What the training clips have on average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.fusion.imputers.spec import ImputerSpec


class MeanImputer(Imputer):
    """The mean of each number over the training clips that have it: E[h_m]."""

    mean_F: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self.spec = ImputerSpec(method=Imputation.MEAN)
        self.register_buffer("mean_F", torch.zeros(sum(widths)))

    def estimate(self, x_BF: Tensor, present_BM: Tensor) -> Tensor:
        """Return the same for every clip, [B, F]."""
        return self.mean_F.expand_as(x_BF)
