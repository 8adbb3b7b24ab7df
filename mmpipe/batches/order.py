"""The order in which an epoch visits its clips: a pure function of seed and epoch, whoever asks."""

from __future__ import annotations

import numpy as np


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of the clips, int64 [N].

    Clips are sorted by raw random bits: numpy promises those streams for ever, its own shuffles it does not.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_clips)
    return _sorting(bits)


def _sorting(bits: np.ndarray) -> np.ndarray:
    """Return the stable argsort: the fast one is the same where no two are equal, and of 64 bits no two are."""
    order = np.argsort(bits)
    ranked = bits[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(bits, kind="stable")
    return order.astype(np.int64)


def batches_of(order: np.ndarray, batch_clips: int) -> tuple[np.ndarray, ...]:
    """Cut an order into batches, the last one as it comes; to resume, skip to the one you need."""
    if batch_clips < 1:
        raise ValueError(f"batch_clips must be >= 1, got {batch_clips}")
    return tuple(order[start : start + batch_clips] for start in range(0, len(order), batch_clips))


def bucketed(
    order: np.ndarray, lengths_N: np.ndarray, batch_clips: int, batches: int, shuffle: tuple[int, int] | None
) -> tuple[np.ndarray, ...]:
    """Cut an order into batches of clips of like length: sort within every run of `batches` batches.

    With `shuffle`, a (seed, epoch), the batches of a run come in a random order, or short clips would always be first.
    """
    planned: list[np.ndarray] = []
    for number, run in enumerate(batches_of(order, batch_clips * max(1, batches))):
        parts = batches_of(run[np.argsort(lengths_N[run], kind="stable")], batch_clips)
        if shuffle is None:
            planned.extend(parts)
        else:
            seed, epoch = shuffle
            bits = np.random.PCG64(np.random.SeedSequence([seed, epoch, number])).random_raw(len(parts))
            planned.extend(parts[place] for place in np.argsort(bits, kind="stable"))
    return tuple(planned)
