"""A Lance data set: a columnar format made for random access."""

from __future__ import annotations

from pathlib import Path

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.parquet_file import as_table, as_tensors
from benchmarks.readers.race import Visit
from mmpipe.batches.order import batches_of, epoch_order


def torch_takes(bench: Bench) -> Visit:
    """Take a tenth of the clips in shuffled batches into tensors: it is that much slower."""
    import lance

    dataset = lance.dataset(str(written(bench)))

    def visit(number: int) -> int:
        order = epoch_order(bench.clips, seed=1, epoch=number)[: max(BATCH_CLIPS, bench.clips // 10)]
        for rows_B in batches_of(order, BATCH_CLIPS):
            table = dataset.take(rows_B)
            columns = [column.combine_chunks().flatten().to_numpy() for column in table.columns]
            as_tensors([column.reshape(len(rows_B), -1).copy() for column in columns])
        return len(order)

    return visit


def written(bench: Bench) -> Path:
    """Write the data set, once, and return its folder."""
    import lance

    path = bench.folder / "all.lance"
    if not path.exists():
        lance.write_dataset(as_table(bench), str(path))
    return path
