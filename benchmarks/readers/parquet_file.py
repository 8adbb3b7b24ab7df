"""One Parquet file with fixed-size lists, uncompressed: what a table engine keeps vectors in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.race import Visit
from mmpipe.batches.order import batches_of, epoch_order


def epoch(bench: Bench, torch: bool = False) -> Visit:
    """Read row groups of 1024 in a random order, and shuffle within each: no shuffle over the whole."""
    path = written(bench)

    def visit(number: int) -> int:
        file, clips = pq.ParquetFile(path, memory_map=True), 0
        for group in epoch_order(file.num_row_groups, seed=1, epoch=number).tolist():
            table = file.read_row_group(group, use_threads=False)
            arrays = [column.combine_chunks().flatten().to_numpy() for column in table.columns]
            arrays = [array.reshape(table.num_rows, -1) for array in arrays]
            for rows_B in batches_of(epoch_order(table.num_rows, seed=group, epoch=number), BATCH_CLIPS):
                batch = [np.take(array, rows_B, axis=0) for array in arrays]
                as_tensors(batch) if torch else None
                clips += len(rows_B)
        return clips

    return visit


def as_table(bench: Bench) -> pa.Table:
    """Return the arrays as columns of fixed-size lists."""
    columns = [pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1]) for array in bench.arrays]
    return pa.table(columns, names=[str(place) for place in range(len(columns))])


def as_tensors(batch: list[np.ndarray]) -> None:
    """Make tensors that share the memory of arrays."""
    import torch

    [torch.from_numpy(array) for array in batch]


def written(bench: Bench) -> Path:
    """Write the file, once, and return it."""
    path = bench.folder / "all.parquet"
    if not path.exists():
        pq.write_table(as_table(bench), path, row_group_size=1024, compression="none", use_dictionary=False)
    return path
