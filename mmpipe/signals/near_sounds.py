"""An index over sound prints, after Haitsma and Kalker's search (ISMIR 2002, section 6).

Two prints are compared bit by bit where a word of the new one lies within one bit of a word of the kept one, at the
shift that this pair of words suggests. Of a kept print all words are in the table; of a new one every fourth is looked
up, together with its 32 neighbours of one bit. No pair that meets in such a word, and whose bits agree, is missed.

Axes: T words of one kind, one print after the other, with offsets [N + 1] as Arrow lists have them; K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.signals.near import Matches, collect, spread
from mmpipe.signals.sound_prints import MAX_ERROR_SHARE, MAX_SHIFT, SoundPrint, error_share

_STRIDE = 4
_BLOCK = 1 << 16  # words looked up at a time, each with its neighbours
# A word that stands everywhere, as of a hum, tells nothing and would bring everybody up.
_MAX_PLACES = 2000
_NEIGHBOURS = np.concatenate(((0,), 1 << np.arange(32))).astype(np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPrints:
    """Many sound prints in plain arrays."""

    words_T: np.ndarray  # uint32
    heard_T: np.ndarray  # bool
    offsets: np.ndarray  # int64 [N + 1]

    def __len__(self) -> int:
        """Return the number of prints."""
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> SoundPrint:
        """Return one print, on its own clock."""
        part = slice(int(self.offsets[item]), int(self.offsets[item + 1]))
        return SoundPrint(start_ns=0, words_T=self.words_T[part], marks_T=self.heard_T[part].astype(np.uint8))


class SoundIndex:
    """Find kept sounds whose bits agree with those of new ones."""

    def __init__(self, kept: SoundPrints, max_error_share: float = MAX_ERROR_SHARE, max_shift: int = MAX_SHIFT) -> None:
        self._kept = kept
        self._max_error_share = max_error_share
        self._max_shift = max_shift
        heard = np.flatnonzero(kept.heard_T)
        order = np.argsort(kept.words_T[heard])
        self._places = heard[order]
        self._words = kept.words_T[self._places]

    def query(self, new: SoundPrints) -> Matches:
        """Return every pair that is near; the distance is the share of wrong bits at the best shift."""
        found = []
        for new_item, kept_item, shift in self._candidates(new):
            share = error_share(new[new_item], self._kept[kept_item], shift)
            if share <= self._max_error_share:
                found.append((new_item, kept_item, share))
        columns = np.array(found, np.float64).reshape(-1, 3).T
        return collect([(columns[0], columns[1], columns[2])])

    def _candidates(self, new: SoundPrints) -> Iterator[tuple[int, int, int]]:
        """Yield each new item, kept item and shift once for which some words lie within a bit."""
        lookups = np.flatnonzero(new.heard_T)
        lookups = lookups[(lookups - new.offsets[_owner(new.offsets, lookups)]) % _STRIDE == 0]
        candidates = [np.zeros((3, 0), np.int64)]
        for first in range(0, len(lookups), _BLOCK):
            candidates.append(self._meet(new, lookups[first : first + _BLOCK]))
        yield from map(tuple, np.unique(np.concatenate(candidates, axis=1), axis=1).T.tolist())

    def _meet(self, new: SoundPrints, lookups: np.ndarray) -> np.ndarray:
        """Return (new item, kept item, shift) for every place where words lie within a bit, [3, K]."""
        words = (new.words_T[lookups, None] ^ _NEIGHBOURS).ravel()
        # Sorted questions walk through the table once; scattered ones would miss the cache each time.
        order = np.argsort(words)
        starts = np.searchsorted(self._words, words[order], side="left")
        counts = np.searchsorted(self._words, words[order], side="right") - starts
        counts[counts > _MAX_PLACES] = 0
        met = [np.zeros((3, 0), np.int64)]
        for questions_K, runs_K in spread(starts, counts):
            new_K = lookups[order[questions_K] // len(_NEIGHBOURS)]
            kept_K = self._places[runs_K]
            new_item, kept_item = _owner(new.offsets, new_K), _owner(self._kept.offsets, kept_K)
            shift = (kept_K - self._kept.offsets[kept_item]) - (new_K - new.offsets[new_item])
            fits = np.abs(shift) <= self._max_shift
            met.append(np.unique(np.stack((new_item, kept_item, shift))[:, fits], axis=1))
        return np.concatenate(met, axis=1)


def pack_sound_prints(prints: Sequence[SoundPrint]) -> SoundPrints:
    """Return prints one after the other."""
    lengths = [len(each.words_T) for each in prints]
    return SoundPrints(
        words_T=np.concatenate([np.zeros(0, np.uint32), *(each.words_T for each in prints)]),
        heard_T=np.concatenate([np.zeros(0, np.bool_), *(each.heard_T for each in prints)]),
        offsets=np.concatenate(((0,), np.cumsum(lengths, dtype=np.int64))),
    )


def _owner(offsets: np.ndarray, places_K: np.ndarray) -> np.ndarray:
    """Return whose print each place belongs to."""
    return np.searchsorted(offsets, places_K, side="right") - 1
