"""Indexes over 64-bit hashes: one of each picture, or several of each video. Nothing within the radius is missed.

Axes: N new hashes, M kept hashes, K pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from mmpipe.signals.near import Matches, collect, spread

_NUM_BANDS, _BAND_BITS = 4, 16
_BAND_VALUES = 1 << _BAND_BITS
_MAX_FLIPS = 2  # 137 look-ups a band; with three, 697, plain comparison wins
_LOOKUP_COST = 8  # of one candidate from a table, in plain comparisons
_TILE_NEW, _TILE_KEPT = 32, 8192  # 2 MiB of differences: stays in the cache

_BLOCK_VIDEOS = 1024

_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


class HashIndex:
    """Find kept hashes within a Hamming radius of new ones."""

    def __init__(self, hashes_M: np.ndarray, radius: int) -> None:
        if not 0 <= radius <= 64:
            raise ValueError(f"radius must be 0 to 64 bits, got {radius}")
        self._kept_M = np.ascontiguousarray(hashes_M, np.uint64)
        self._radius = radius
        # Where two hashes differ by at most r bits, one of four bands differs by at most r // 4: the pigeonhole of
        # multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012).
        self._masks = _flip_masks(radius // _NUM_BANDS) if radius // _NUM_BANDS <= _MAX_FLIPS else None
        self._tables = (
            [_table(_band(self._kept_M, band)) for band in range(_NUM_BANDS)] if self._masks is not None else []
        )

    def query(self, new: np.ndarray) -> Matches:
        """Return every pair of a new hash, uint64 [N], and a kept one within the radius; distances count bits."""
        new_N = np.ascontiguousarray(new, np.uint64)
        # Hashes of real pictures crowd in few buckets: the choice takes the true number of candidates.
        looks_up = self._masks is not None and self._num_candidates(new_N) * _LOOKUP_COST < len(new_N) * len(
            self._kept_M
        )
        return collect(list(self._look_up(new_N) if looks_up else self._compare_all(new_N)))

    def _num_candidates(self, new_N: np.ndarray) -> int:
        """Return how many pairs the tables would bring up."""
        return sum(int(counts_N.sum()) for _, _, counts_N in self._buckets(new_N))

    def _buckets(self, new_N: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, for every band and mask, the band's order of the kept, and each new hash's run in it."""
        for band, (order_M, starts) in enumerate(self._tables):
            values_N = _band(new_N, band)
            for mask in self._masks if self._masks is not None else ():
                buckets_N = values_N ^ mask
                yield order_M, starts[buckets_N], starts[buckets_N + 1] - starts[buckets_N]

    def _look_up(self, new_N: np.ndarray) -> Iterator[_Pairs]:
        """Yield the near pairs among those that share a bucket."""
        for order_M, starts_N, counts_N in self._buckets(new_N):
            for new_K, places_K in spread(starts_N, counts_N):
                kept_K = order_M[places_K]
                distance_K = np.bitwise_count(new_N[new_K] ^ self._kept_M[kept_K])
                near = np.flatnonzero(distance_K <= self._radius)
                yield new_K[near], kept_K[near], distance_K[near]

    def _compare_all(self, new_N: np.ndarray) -> Iterator[_Pairs]:
        """Yield the near pairs among all."""
        for top in range(0, len(new_N), _TILE_NEW):
            for left in range(0, len(self._kept_M), _TILE_KEPT):
                tile = new_N[top : top + _TILE_NEW, None] ^ self._kept_M[left : left + _TILE_KEPT]
                distance = np.bitwise_count(tile)
                rows, columns = np.nonzero(distance <= self._radius)
                if len(rows):
                    yield top + rows, left + columns, distance[rows, columns]


class VideoIndex:
    """Find kept videos that share enough frames with new ones, in whatever order.

    Videos come as their hashes one after the other, and offsets [N + 1] of where each begins, as Arrow lists do.
    """

    def __init__(self, kept: tuple[np.ndarray, np.ndarray], radius: int, min_share: float) -> None:
        if not 0 < min_share <= 1:
            raise ValueError(f"min_share must be over 0 and at most 1, got {min_share}")
        hashes, offsets = kept
        self._offsets = np.asarray(offsets, np.int64)
        self._index = HashIndex(hashes, radius)
        self._min_share = min_share

    def query(self, new: tuple[np.ndarray, np.ndarray]) -> Matches:
        """Return every pair of videos that shares enough frames; the distance is the share of frames that it lacks."""
        hashes, offsets = new
        blocks = []
        # In blocks, for alike recordings (one speaker, one wall) have many frames in common with everybody.
        for first in range(0, len(offsets) - 1, _BLOCK_VIDEOS):
            starts = np.asarray(offsets[first : first + _BLOCK_VIDEOS + 1], np.int64)
            blocks.append(self._query_block(hashes[starts[0] : starts[-1]], starts - starts[0], first))
        return collect(blocks)

    def _query_block(self, hashes: np.ndarray, offsets: np.ndarray, first: int) -> _Pairs:
        """Return the near pairs of some new videos, the first of which has a place among all."""
        frames = self._index.query(hashes)
        new_owner = np.searchsorted(offsets, frames.new_K, side="right") - 1
        kept_owner = np.searchsorted(self._offsets, frames.kept_K, side="right") - 1
        num_kept = max(len(self._offsets) - 1, 1)
        pairs, place_K = np.unique(new_owner * num_kept + kept_owner, return_inverse=True)
        matched = _count_distinct(place_K, frames.new_K, len(pairs)) + _count_distinct(
            place_K, frames.kept_K, len(pairs)
        )
        new_item, kept_item = pairs // num_kept, pairs % num_kept
        share = matched / (np.diff(offsets)[new_item] + np.diff(self._offsets)[kept_item])
        near = share >= self._min_share
        return first + new_item[near], kept_item[near], 1 - share[near]


def _count_distinct(group_K: np.ndarray, value_K: np.ndarray, num_groups: int) -> np.ndarray:
    """Return how many different values each group has."""
    distinct = np.unique(np.stack((group_K, value_K)), axis=1)[0] if len(group_K) else group_K
    return np.bincount(distinct, minlength=num_groups)


def _band(hashes: np.ndarray, band: int) -> np.ndarray:
    """Return 16 of the bits of hashes, as indices."""
    return ((hashes >> np.uint64(_BAND_BITS * band)) & np.uint64(_BAND_VALUES - 1)).astype(np.int64)


def _table(values_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order by value, and where each value begins in it."""
    counts = np.bincount(values_M, minlength=_BAND_VALUES)
    return np.argsort(values_M, kind="stable"), np.concatenate(((0,), np.cumsum(counts)))


def _flip_masks(num_flips: int) -> np.ndarray:
    """Return the 16-bit numbers with at most so many ones."""
    masks = [
        sum(1 << bit for bit in bits) for ones in range(num_flips + 1) for bits in combinations(range(_BAND_BITS), ones)
    ]
    return np.array(masks, np.int64)
