"""What imputers are fitted on and judged by: clips as the networks see them, modalities side by side.

Axes: N clips, M modalities in the order of the spec, F the numbers of all modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mmpipe.fusion.imputers.base import side_by_side
from mmpipe.fusion.preprocess import Prepared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """Preprocessed clips; row n of every part speaks of clip n."""

    features: tuple[str, ...]  # M of them
    widths: tuple[int, ...]  # numbers of each
    x_NF: Tensor  # float32, zero where a modality is missing
    present_NM: Tensor  # bool
    groups_N: np.ndarray  # str

    @classmethod
    def none(cls, features: Sequence[str], widths: Sequence[int]) -> Self:
        """Return no clips."""
        return cls(
            features=tuple(features),
            widths=tuple(widths),
            x_NF=torch.zeros(0, sum(widths)),
            present_NM=torch.zeros(0, len(widths), dtype=torch.bool),
            groups_N=np.array([], dtype=str),
        )

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.x_NF)

    def take(self, rows: np.ndarray) -> Observed:
        """Return these clips."""
        return Observed(
            features=self.features,
            widths=self.widths,
            x_NF=self.x_NF[torch.from_numpy(rows)],
            present_NM=self.present_NM[torch.from_numpy(rows)],
            groups_N=self.groups_N[rows],
        )

    def pairs(self) -> np.ndarray:
        """Return the clips that have at least two modalities: one can be guessed from another, and checked."""
        return np.flatnonzero(self.present_NM.sum(1).numpy() >= 2)

    def columns(self, number: int) -> slice:
        """Return where the numbers of a modality lie."""
        start = sum(self.widths[:number])
        return slice(start, start + self.widths[number])


def observe(prepared: Mapping[str, Prepared], groups: Sequence[str]) -> Observed:
    """Return preprocessed clips as an imputer learns from them."""
    x_NF, present_NM = side_by_side(prepared)
    return Observed(
        features=tuple(prepared),
        widths=tuple(part.x_BSK[0].numel() for part in prepared.values()),
        x_NF=x_NF,
        present_NM=present_NM,
        groups_N=np.array(groups, dtype=object).astype(str),
    )
