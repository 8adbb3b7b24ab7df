"""The mean of the training clips that are most like a clip in what it has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer, known_sets, rows_of_set, spread
from mmpipe.fusion.imputers.spec import ImputerSpec

FAR = 1e30  # the squared distance of a training clip that lacks what is asked for


class NearestImputer(Imputer):
    """h_missing = mean of h over the k training clips nearest in h_present (Troyanskaya et al. 2001).

    Only training clips that have what the clip has, and what it lacks, are near. Their numbers are a part of the model.
    """

    rows_NF: Tensor
    present_NM: Tensor

    def __init__(self, widths: Sequence[int], *, rows: int, neighbours: int) -> None:
        super().__init__(widths)
        self.spec = ImputerSpec(method=Imputation.KNN, sizes={"rows": rows, "neighbours": neighbours})
        self.neighbours = neighbours
        self.sets = known_sets(len(widths))
        self.register_buffer("rows_NF", torch.zeros(rows, sum(widths)))
        self.register_buffer("present_NM", torch.ones(rows, len(widths), dtype=torch.bool))

    def estimate(self, x_BF: Tensor, present_BM: Tensor) -> Tensor:
        """Return each clip's guess from its neighbours, [B, F]; a modality that no near clip has is zero."""
        out_BF = torch.zeros_like(x_BF)
        for known in self.sets:
            mine_B = rows_of_set(present_BM, known)
            for target, is_known in enumerate(known):
                if is_known:
                    continue
                wanted = [here or m == target for m, here in enumerate(known)]
                guess_BF = self._mean_of_near(x_BF, known, wanted, target)
                out_BF = torch.where(mine_B[:, None], out_BF + guess_BF, out_BF)
        return out_BF

    def _mean_of_near(self, x_BF: Tensor, known: Sequence[bool], wanted: Sequence[bool], target: int) -> Tensor:
        """Return the neighbours' mean of one modality, zero elsewhere, [B, F]."""
        seen_F = spread(torch.tensor([known], device=x_BF.device), self.widths)[0]
        only = [m == target for m in range(len(known))]
        asked_F = spread(torch.tensor([only], device=x_BF.device), self.widths)[0]
        has_N = (self.present_NM | ~torch.tensor(wanted, device=x_BF.device)).all(1)
        near_BN = _squared_distances(torch.where(seen_F, x_BF, 0.0), torch.where(seen_F, self.rows_NF, 0.0))
        near_BN = torch.where(has_N, near_BN, FAR)
        distances_BK, nearest_BK = near_BN.topk(self.neighbours, dim=1, largest=False)
        weights_BK = (distances_BK < FAR / 2).to(x_BF.dtype)
        shares_BK = weights_BK / weights_BK.sum(1, keepdim=True).clamp(min=1)
        rows_NF = torch.where(asked_F, self.rows_NF, 0.0)
        return (shares_BK[:, :, None] * rows_NF[nearest_BK]).sum(1)


def _squared_distances(x_BF: Tensor, rows_NF: Tensor) -> Tensor:
    """Return |x - row|^2, [B, N], in float64: a row's own distance is 0 up to rounding."""
    x_BF, rows_NF = x_BF.double(), rows_NF.double()
    squares_BN = x_BF.square().sum(1, keepdim=True) + rows_NF.square().sum(1) - 2 * x_BF @ rows_NF.T
    return squares_BN.clamp(min=0)
