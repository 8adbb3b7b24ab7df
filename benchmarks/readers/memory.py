"""The memory itself: what no file format can beat."""

from __future__ import annotations

import numpy as np

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.race import Visit
from mmpipe.batches.order import batches_of, epoch_order


def memcpy(bench: Bench, num_arrays: int | None = None) -> Visit:
    """Copy the same bytes in order, to the same place again and again; of all features, or of the first ones."""
    arrays = bench.arrays[:num_arrays]
    targets = [np.empty_like(array[:BATCH_CLIPS]) for array in arrays]

    def visit(number: int) -> int:
        for start in range(0, bench.clips, BATCH_CLIPS):
            for array, target in zip(arrays, targets, strict=True):
                part = array[start : start + BATCH_CLIPS]
                np.copyto(target[: len(part)], part)
        return bench.clips

    return visit


def ram_gather(bench: Bench) -> Visit:
    """Take the same shuffled batches from arrays in memory."""

    def visit(number: int) -> int:
        for rows_B in batches_of(epoch_order(bench.clips, seed=1, epoch=number), BATCH_CLIPS):
            [np.take(array, rows_B, axis=0) for array in bench.arrays]
        return bench.clips

    return visit
