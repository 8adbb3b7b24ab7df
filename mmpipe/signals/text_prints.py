"""MinHash signatures of texts (Broder, "On the resemblance and containment of documents", 1997).

Axes: S shingles, P permutations.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

import numpy as np

from mmpipe.signals.words import split_words

NUM_PERMUTATIONS = 128
_SHINGLE = 5
_SEED = 1
_NOTHING = np.iinfo(np.uint32).max  # the signature of a text without shingles
_CHUNK_SHINGLES = 4096
_CHUNK_CHARACTERS = 1 << 16  # the shingles of a whole book at once are a gigabyte


def character_shingles(text: str, size: int = _SHINGLE) -> frozenset[str]:
    """Return the n-grams of characters, in small letters and with single spaces; a shorter text is one shingle."""
    return _shingles(_plain(text), size)


def word_shingles(text: str, size: int = _SHINGLE) -> frozenset[str]:
    """Return the n-grams of words; a shorter text is one shingle."""
    words = split_words(text)
    return frozenset(" ".join(words[first : first + size]) for first in range(max(len(words) - size + 1, bool(words))))


def minhash(shingles: frozenset[str]) -> np.ndarray:
    """Return the signature of a set of shingles, uint32 [128]."""
    keys_S = np.frombuffer(b"".join(_digest(shingle) for shingle in shingles), "<u8")
    factors_P, offsets_P = _permutations()
    signature_P = np.full(NUM_PERMUTATIONS, _NOTHING, np.uint32)
    for first in range(0, len(keys_S), _CHUNK_SHINGLES):
        # Multiply-shift (Dietzfelbinger et al. 1997): modulo 2^64, the high half kept.
        hashed_SP = (keys_S[first : first + _CHUNK_SHINGLES, None] * factors_P + offsets_P) >> np.uint64(32)
        signature_P = np.minimum(signature_P, hashed_SP.min(axis=0).astype(np.uint32))
    return signature_P


def print_text(text: str) -> np.ndarray:
    """Return the signature of all of a text's n-grams of characters, uint32 [128], however long it is."""
    plain = _plain(text)
    signature_P = minhash(frozenset())
    for first in range(0, max(len(plain) - _SHINGLE + 1, bool(plain)), _CHUNK_CHARACTERS):
        piece = plain[first : first + _CHUNK_CHARACTERS + _SHINGLE - 1]
        signature_P = np.minimum(signature_P, minhash(_shingles(piece, _SHINGLE)))
    return signature_P


def estimate_resemblance(one_P: np.ndarray, other_P: np.ndarray) -> float:
    """Return the estimated share of common shingles (Jaccard) of two signatures; texts without shingles have none."""
    return float(((one_P == other_P) & (one_P != _NOTHING)).mean())


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def _digest(shingle: str) -> bytes:
    """Return 64 bits that are the same in every process."""
    return hashlib.blake2b(shingle.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _shingles(text: str, size: int) -> frozenset[str]:
    """Return the n-grams of a string."""
    return frozenset(text[first : first + size] for first in range(max(len(text) - size + 1, bool(text))))


@lru_cache(maxsize=1)
def _permutations() -> tuple[np.ndarray, np.ndarray]:
    """Return odd factors and offsets, always the same ones, each uint64 [P]."""
    # SplitMix64 (Steele et al. 2014), not numpy's generator: signatures live longer than a version of numpy.
    state = np.uint64(0x9E3779B97F4A7C15) * np.arange(_SEED, _SEED + 2 * NUM_PERMUTATIONS, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return state[:NUM_PERMUTATIONS] | np.uint64(1), state[NUM_PERMUTATIONS:]
