"""What the losses of all batches of a step are divided by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmpipe.fusion.preprocess import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTotals:
    """What the losses of all batches of a step are divided by: their sum is then that of one big batch."""

    clips: int
    weight: Tensor | int  # of all clips: their number, or the sum of their classes' weights
    present: Mapping[str, Tensor | int]  # feature -> the same over the clips that have it, at least 1
    complete: frozenset[str]  # features that every clip has

    @classmethod
    def of(cls, clips: int, prepared: Mapping[str, Prepared], weights_B: Tensor | None = None) -> StepTotals:
        """Count a step's clips, or add up what they weigh."""
        counts_M = torch.stack([part.present_B for part in prepared.values()]).sum(1).tolist() if prepared else []
        counts = dict(zip(prepared, counts_M, strict=True))
        complete = frozenset(name for name, count in counts.items() if count == clips)
        if weights_B is None:
            return cls(
                clips=clips,
                weight=clips,
                present={name: max(count, 1) for name, count in counts.items()},
                complete=complete,
            )
        sums = {name: (weights_B * part.present_B).sum() for name, part in prepared.items()}
        present = {name: torch.where(total > 0, total, 1.0) for name, total in sums.items()}
        return cls(clips=clips, weight=weights_B.sum(), present=present, complete=complete)
