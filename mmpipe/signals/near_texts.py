"""An index over MinHash signatures. No pair whose estimate reaches the threshold is missed.

Axes: N new texts, M kept texts, P permutations, K pairs.
"""

from __future__ import annotations

import numpy as np

from mmpipe.signals.near import Matches, collect, spread

_NOTHING = np.iinfo(np.uint32).max
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class TextIndex:
    """Find kept texts whose estimated resemblance with new ones reaches a threshold."""

    def __init__(self, signatures_MP: np.ndarray, min_resemblance: float) -> None:
        if not 0 < min_resemblance <= 1:
            raise ValueError(f"min_resemblance must be over 0 and at most 1, got {min_resemblance}")
        self._kept_MP = np.ascontiguousarray(signatures_MP, np.uint32)
        self._min_resemblance = min_resemblance
        self._num_bands = _num_bands(self._kept_MP.shape[1], min_resemblance)
        self._kept_places = _places_of_texts(self._kept_MP)
        keys = _band_keys(self._kept_MP[self._kept_places], self._num_bands)
        self._orders = np.argsort(keys, axis=1, kind="stable")
        self._sorted_keys = np.take_along_axis(keys, self._orders, axis=1)

    def query(self, new: np.ndarray) -> Matches:
        """Return every pair of a new signature, uint32 [N, P], and a kept one that is near, 1 - resemblance apart."""
        new_NP = np.ascontiguousarray(new, np.uint32)
        places_N = _places_of_texts(new_NP)
        found = []
        for band, keys_N in enumerate(_band_keys(new_NP[places_N], self._num_bands)):
            starts_N = np.searchsorted(self._sorted_keys[band], keys_N, side="left")
            ends_N = np.searchsorted(self._sorted_keys[band], keys_N, side="right")
            for items_K, runs_K in spread(starts_N, ends_N - starts_N):
                new_K, kept_K = places_N[items_K], self._kept_places[self._orders[band][runs_K]]
                found.append(np.stack((new_K, kept_K)))
        pairs = np.unique(np.concatenate(found, axis=1), axis=1) if found else np.zeros((2, 0), np.int64)
        return self._verify(new_NP, pairs)

    def _verify(self, new_NP: np.ndarray, pairs: np.ndarray) -> Matches:
        """Return the pairs whose whole signatures are near."""
        near = []
        for first in range(0, pairs.shape[1], 1 << 16):
            new_K, kept_K = pairs[:, first : first + (1 << 16)]
            resemblance_K = (new_NP[new_K] == self._kept_MP[kept_K]).mean(axis=1)
            fits = resemblance_K >= self._min_resemblance
            near.append((new_K[fits], kept_K[fits], 1 - resemblance_K[fits]))
        return collect(near)


def _num_bands(num_permutations: int, min_resemblance: float) -> int:
    """Return the fewest bands of which one must be equal: one more than the values that may differ, at least."""
    may_differ = int(num_permutations * (1 - min_resemblance) + 1e-9)
    return next(bands for bands in range(may_differ + 1, num_permutations + 1) if num_permutations % bands == 0)


def _band_keys(signatures_NP: np.ndarray, num_bands: int) -> np.ndarray:
    """Return one number for every band of a signature, uint64 [bands, N]; equal bands have equal numbers."""
    num_texts, num_permutations = signatures_NP.shape
    bands = signatures_NP.reshape(num_texts, num_bands, num_permutations // num_bands).astype(np.uint64)
    keys = np.zeros(bands.shape[:2], np.uint64)
    for row in range(bands.shape[2]):
        keys = (keys ^ bands[:, :, row]) * _FACTOR
        keys ^= keys >> np.uint64(29)
    return np.ascontiguousarray(keys.T)


def _places_of_texts(signatures_NP: np.ndarray) -> np.ndarray:
    """Return which signatures are of texts that have shingles at all."""
    return np.flatnonzero((signatures_NP != _NOTHING).any(axis=1))
