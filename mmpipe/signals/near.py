"""What is near what among prints, and which of the twins of a night stays.

An index is built from the plain arrays of what is kept and asked with the arrays of what is new; it holds nothing that
those arrays do not. Axes: N items, K matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

_New = TypeVar("_New", contravariant=True)
_SPREAD_LIMIT = 1 << 22  # candidates at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of a new and a kept item that are near, ordered by new and then kept, each once."""

    new_K: np.ndarray  # int64, place among the new
    kept_K: np.ndarray  # int64, place among the kept
    distance_K: np.ndarray  # float64, 0 for equal prints

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.new_K)


class NearIndex(Protocol[_New]):
    """Anything that finds the kept items near new ones."""

    def query(self, new: _New) -> Matches:
        """Return every pair within the index's radius."""
        ...


def remove_twins(
    new_keys: Sequence[str], kept_keys: Sequence[str], against_kept: Matches, among_new: Matches
) -> dict[str, tuple[str, float]]:
    """Return which new items go: key -> (key of the twin that stays, distance), in the order of the keys.

    What is kept wins over what is new. Of the rest the least key wins: each goes if an item before it that stays is
    near. A chain of neighbours therefore does not vanish into its first link, and every twin named is one that stays.
    """
    removed: dict[int, tuple[str, float]] = {}
    for new, kept, distance in _nearest(against_kept, kept_keys):
        removed[new] = (kept_keys[kept], distance)
    earlier: dict[int, list[tuple[float, str, int]]] = {}
    for one, other, distance in zip(among_new.new_K, among_new.kept_K, among_new.distance_K, strict=True):
        first, second = sorted((int(one), int(other)), key=lambda item: new_keys[item])
        if first != second:
            earlier.setdefault(second, []).append((float(distance), new_keys[first], first))
    for item in sorted(earlier, key=lambda item: new_keys[item]):
        staying = [near for near in earlier[item] if near[2] not in removed]
        if item not in removed and staying:
            distance, twin, _ = min(staying)
            removed[item] = (twin, distance)
    return {new_keys[item]: removed[item] for item in sorted(removed, key=lambda item: new_keys[item])}


def agree(all_matches: Sequence[Matches]) -> Matches:
    """Return the pairs that are in every one, as of pictures and of sound, with the largest of their distances."""
    num_kept = 1 + max((int(matches.kept_K.max(initial=0)) for matches in all_matches), default=0)
    codes = [matches.new_K * num_kept + matches.kept_K for matches in all_matches]
    common = codes[0]
    for other in codes[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    distances = [
        matches.distance_K[np.searchsorted(code, common)] for matches, code in zip(all_matches, codes, strict=True)
    ]
    return Matches(new_K=common // num_kept, kept_K=common % num_kept, distance_K=np.max(distances, axis=0))


def spread(starts_N: np.ndarray, counts_N: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (item, place) for every place of every item's run of places, some millions at a time."""
    total = np.concatenate(((0,), np.cumsum(counts_N, dtype=np.int64)))
    first = 0
    while first < len(counts_N):
        last = max(int(np.searchsorted(total, total[first] + _SPREAD_LIMIT, side="right")) - 1, first + 1)
        counts = counts_N[first:last]
        items = np.repeat(np.arange(first, last), counts)
        if len(items):
            yield items, np.arange(len(items)) - (total[items] - total[first]) + starts_N[items]
        first = last


def collect(pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Matches:
    """Return pairs that were found piece by piece, some of them more than once."""
    new, kept, distance = (
        np.concatenate([piece[column] for piece in pairs]) if pairs else np.zeros(0) for column in range(3)
    )
    order = np.lexsort((distance, kept, new))
    new, kept, distance = new[order].astype(np.int64), kept[order].astype(np.int64), distance[order].astype(np.float64)
    # Of a pair that was found more than once the least distance stays.
    fresh = np.ones(len(new), np.bool_)
    fresh[1:] = (new[1:] != new[:-1]) | (kept[1:] != kept[:-1])
    return Matches(new_K=new[fresh], kept_K=kept[fresh], distance_K=distance[fresh])


def _nearest(matches: Matches, kept_keys: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yield every new item that has a near one, with the nearest, of equals the one with the least key."""
    rank = np.empty(len(kept_keys), np.int64)
    rank[sorted(range(len(kept_keys)), key=kept_keys.__getitem__)] = np.arange(len(kept_keys))
    order = np.lexsort((rank[matches.kept_K], matches.distance_K, matches.new_K))
    items, firsts = np.unique(matches.new_K[order], return_index=True)
    best = order[firsts]
    yield from zip(items.tolist(), matches.kept_K[best].tolist(), matches.distance_K[best].tolist(), strict=True)
