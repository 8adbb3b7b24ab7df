"""How far an imputer is from what is there: each modality is hidden from clips that have it, and guessed.

Numbers are preprocessed: their mean square over the training clips is about 1, so an error of 1 is that of a guess
that knows nothing, and 0 is perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmpipe.fusion.imputers.base import Imputer, spread
from mmpipe.train.imputation.observed import Observed

BATCH_CLIPS = 1024
DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """The errors of one imputer; entry e is one modality of one clip, and all imputers have the same entries."""

    squared_E: np.ndarray  # mean over the modality's numbers
    absolute_E: np.ndarray
    features_E: np.ndarray
    groups_E: np.ndarray

    def of(self, feature: str) -> HeldOut:
        """Return the entries of one modality."""
        mine_E = self.features_E == feature
        return HeldOut(**{name: getattr(self, name)[mine_E] for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate, and where the central share `CONFIDENCE` of its resamples lies."""

    value: float
    low: float
    high: float


def held_out_errors(imputer: Imputer, data: Observed) -> HeldOut:
    """Hide each modality of each clip that has another one, and return how far the guesses are."""
    parts = [
        _errors_of(imputer, data, number, rows)
        for number in range(len(data.features))
        if len(rows := data.pairs()[data.present_NM[data.pairs(), number].numpy()])
    ]
    return join_errors(parts)


def join_errors(parts: Sequence[HeldOut]) -> HeldOut:
    """Return the entries of several as one."""
    empty = {"squared_E": np.zeros(0), "absolute_E": np.zeros(0), "features_E": _NAMES, "groups_E": _NAMES}
    return HeldOut(**{name: np.concatenate([none, *(getattr(p, name) for p in parts)]) for name, none in empty.items()})


def clustered_range(values_E: np.ndarray, groups_E: np.ndarray, seed: int = 0) -> Range:
    """Return the mean of some values, with an interval by drawing whole groups: values of one speaker err together.

    With a single group there is nothing to draw from but its entries, and the interval is too narrow.
    """
    names, group_E = np.unique(groups_E, return_inverse=True)
    if len(names) < 2:
        group_E = np.arange(len(values_E))
    sums_G, counts_G = np.bincount(group_E, values_E), np.bincount(group_E)
    rng = np.random.default_rng([seed, len(sums_G)])
    draws_D = np.empty(DRAWS)
    for draw in range(DRAWS):
        drawn_G = rng.integers(0, len(sums_G), len(sums_G))
        draws_D[draw] = sums_G[drawn_G].sum() / counts_G[drawn_G].sum()
    low, high = np.quantile(draws_D, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Range(value=float(values_E.mean()), low=float(low), high=float(high))


def _errors_of(imputer: Imputer, data: Observed, number: int, rows: np.ndarray) -> HeldOut:
    """Return the errors where one modality is hidden from these clips."""
    columns, squared, absolute = data.columns(number), [], []
    for start in range(0, len(rows), BATCH_CLIPS):
        part = data.take(rows[start : start + BATCH_CLIPS])
        kept_BM = part.present_NM.clone()
        kept_BM[:, number] = False
        known_BF = torch.where(spread(kept_BM, data.widths), part.x_NF, 0.0)
        with torch.no_grad():
            apart_BW = (imputer.estimate(known_BF, kept_BM) - part.x_NF)[:, columns].double()
        squared.append(apart_BW.square().mean(1).numpy())
        absolute.append(apart_BW.abs().mean(1).numpy())
    return HeldOut(
        squared_E=np.concatenate(squared),
        absolute_E=np.concatenate(absolute),
        features_E=np.full(len(rows), data.features[number]),
        groups_E=data.groups_N[rows],
    )


_NAMES = np.array([], dtype=str)
