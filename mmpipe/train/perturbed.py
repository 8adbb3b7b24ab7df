"""Sources of clips that are made worse on purpose, for asking a trained network what it rests on.

What becomes of a clip never depends on which others are gathered with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmpipe.train.data import ClipSource, chunks
from mmpipe.types import Batch, ModalityBatch


class PermutedSource:
    """A source in which each clip has another clip's values of one feature: its marginals stay, its meaning goes."""

    def __init__(self, source: ClipSource, feature: str, rows: np.ndarray, seed: int) -> None:
        self._source, self._feature = source, feature
        order = np.random.default_rng([seed, len(rows)]).permutation(len(rows))
        self._other = dict(zip(rows[order].tolist(), rows[np.roll(order, 1)].tolist(), strict=True))

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows, which must be among those that were permuted."""
        batch = self._source.gather(rows)
        others = self._source.gather(np.array([self._other[row] for row in rows.tolist()], dtype=np.int64))
        features = dict(batch.features)
        if self._feature in others.features:
            features[self._feature] = others.features[self._feature]
        return replace(batch, features=features)


class NoisySource:
    """A source with Gaussian noise on one feature: `level` times each dimension's deviation over some clips."""

    def __init__(self, source: ClipSource, feature: str, scale_D: np.ndarray, level: float, seed: int) -> None:
        self._source, self._feature, self._scale_D, self._level, self._seed = source, feature, scale_D, level, seed

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows; a clip's noise is drawn from its row."""
        batch = self._source.gather(rows)
        part = batch.features.get(self._feature)
        if part is None:
            return batch
        x_BTD = part.x_BTD.astype(np.float32)
        for x_TD, mask_T, row in zip(x_BTD, part.mask_BT, rows.tolist(), strict=True):
            drawn = np.random.default_rng([self._seed, row]).standard_normal((int(mask_T.sum()), x_TD.shape[1]))
            x_TD[mask_T] += self._level * self._scale_D * drawn
        features = {**batch.features, self._feature: ModalityBatch(x_BTD=x_BTD, mask_BT=part.mask_BT)}
        return replace(batch, features=features)


def deviations_of(source: ClipSource, feature: str, rows: np.ndarray) -> np.ndarray:
    """Return the standard deviation [D] of a feature's real tokens over some rows; empty where none has any."""
    count, sums, squares = 0, np.zeros(0), np.zeros(0)
    shift = np.zeros(0)
    for batch in chunks(source, rows):
        part = batch.features.get(feature)
        if part is None or not part.mask_BT.any():
            continue
        tokens_XD = part.x_BTD[part.mask_BT].astype(np.float64)
        if not count:
            shift = tokens_XD.mean(axis=0)  # near the mean, the squares lose no digits
            sums, squares = np.zeros_like(shift), np.zeros_like(shift)
        count += len(tokens_XD)
        sums += (tokens_XD - shift).sum(axis=0)
        squares += ((tokens_XD - shift) ** 2).sum(axis=0)
    return np.sqrt(np.maximum(squares / count - (sums / count) ** 2, 0)) if count else shift
