"""mmpipe's own reader: whole shuffled epochs as arrays and as tensors, and single clips by key.

Values, masks and labels are read; the names of a batch's clips are looked up only where somebody asks for them.
"""

from __future__ import annotations

from typing import Any

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.race import Visit
from mmpipe.batches.order import epoch_order


def epoch(bench: Bench, *features: str) -> Visit:
    """Read whole batches of all features, or of those named."""
    reader = bench.open(*features)

    def visit(number: int) -> int:
        return sum(len(batch.labels_B) for batch in reader.batches(BATCH_CLIPS, seed=1, epoch=number))

    return visit


def torch_epoch(bench: Bench, *features: str) -> Visit:
    """Read whole batches into tensors, in this process."""
    reader = bench.open(*features)

    def visit(number: int) -> int:
        return sum(len(batch.rows) for batch in reader.torch_batches(BATCH_CLIPS, seed=1, epoch=number))

    return visit


def torch_loader(bench: Bench, *features: str) -> Visit:
    """Read whole batches into tensors through a DataLoader of two workers."""
    from torch.utils.data import DataLoader

    reader = bench.open(*features)

    def visit(number: int) -> int:
        batches: Any = reader.torch_batches(BATCH_CLIPS, seed=1, epoch=number)  # an IterableDataset by then
        return sum(len(batch.rows) for batch in DataLoader(batches, num_workers=2, batch_size=None))

    return visit


def single_clips(bench: Bench) -> Visit:
    """Copy up to 2000 random clips, one at a time, found by key."""
    reader = bench.open()
    keys = reader.clips["key"].to_list()

    def visit(number: int) -> int:
        chosen = [keys[row] for row in epoch_order(len(keys), 2, number)[:2000]]
        for key in chosen:
            for value in reader.sample(key).values.values():
                assert value is not None
                value.array.copy()
        return len(chosen)

    return visit


def cold_epoch(bench: Bench, *, seed: int | None, verify: bool) -> Visit:
    """Read an epoch in order or shuffled, with or without checking the bytes that are opened."""
    reader = bench.open(verify=verify)

    def visit(number: int) -> int:
        return sum(len(batch.labels_B) for batch in reader.batches(BATCH_CLIPS, seed=seed, epoch=number))

    return visit
