"""A linear guess, of its own for every set of modalities that is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer, known_sets, rows_of_set
from mmpipe.fusion.imputers.spec import ImputerSpec


class RidgeImputer(Imputer):
    """h_missing = b + W h_present, W by ridge regression (Hoerl and Kennard 1970)."""

    weights_PFF: Tensor
    bias_PF: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        size = sum(widths)
        self.spec = ImputerSpec(method=Imputation.RIDGE)
        self.sets = known_sets(len(widths))  # P of them
        self.register_buffer("weights_PFF", torch.zeros(len(self.sets), size, size))  # from the first F to the second
        self.register_buffer("bias_PF", torch.zeros(len(self.sets), size))

    def estimate(self, x_BF: Tensor, present_BM: Tensor) -> Tensor:
        """Return each clip's guess by the weights of its set of modalities, [B, F]."""
        out_BF = torch.zeros_like(x_BF)
        for number, known in enumerate(self.sets):
            guess_BF = x_BF @ self.weights_PFF[number] + self.bias_PF[number]
            out_BF = torch.where(rows_of_set(present_BM, known)[:, None], guess_BF, out_BF)
        return out_BF
