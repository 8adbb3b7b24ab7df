"""A folder that litdata optimised, read by its StreamingDataset and StreamingDataLoader, shuffled, into tensors."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.race import Visit


def torch_epoch(bench: Bench) -> Visit:
    """Stream epochs from the local folder, in this process; litdata shuffles chunks, and clips within each."""
    folder = written(bench)
    import litdata

    dataset = litdata.StreamingDataset(str(folder), shuffle=True, seed=1)
    loader = litdata.StreamingDataLoader(dataset, batch_size=BATCH_CLIPS, num_workers=0)

    def visit(number: int) -> int:
        return sum(len(batch["0"]) for batch in loader)

    return visit


def written(bench: Bench) -> Path:
    """Optimise the clips into a folder, once, and return it."""
    target, arrays = bench.folder / "litdata", bench.folder / "litdata-arrays"
    if target.exists():
        return target
    # Its caches would be in the home folder and beside ours; the check asks the network. Most are read at import.
    os.environ["LITDATA_CACHE_DIR"] = str(bench.folder / "litdata-cache")
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(bench.folder / "litdata-chunks")
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(bench.folder / "litdata-data")
    os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"
    import litdata

    arrays.mkdir()
    for place, array in enumerate(bench.arrays):
        np.save(arrays / f"{place}.npy", array)
    item = partial(_item, arrays, len(bench.arrays))
    with contextlib.redirect_stdout(sys.stderr):  # it talks, and stdout is for the figures
        litdata.optimize(item, list(range(bench.clips)), str(target), chunk_bytes="64MB", num_workers=1, verbose=False)
    return target


def _item(folder: Path, num_arrays: int, row: int) -> dict[str, np.ndarray]:
    """Return a clip; runs in litdata's own process."""
    return {str(place): _mapped(folder / f"{place}.npy")[row].copy() for place in range(num_arrays)}


@lru_cache
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")
