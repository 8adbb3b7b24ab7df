"""One safetensors file per shard, mapped: the plainest layout there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.readers.bench import BATCH_CLIPS, Bench
from benchmarks.readers.race import Visit
from mmpipe.batches.order import batches_of, epoch_order

_DTYPES = {"F16": np.float16, "F32": np.float32}


def takes(bench: Bench) -> Visit:
    """Take every shard's part of a batch at once."""
    mapped = _map(bench)
    firsts = _first_rows(mapped)

    def visit(number: int) -> int:
        for rows_B in batches_of(epoch_order(bench.clips, seed=1, epoch=number), BATCH_CLIPS):
            shard_B = np.searchsorted(firsts, rows_B, side="right") - 1
            places = [np.flatnonzero(shard_B == shard) for shard in range(bench.shards)]
            for parts in mapped:
                out = np.empty((len(rows_B), parts[0].shape[1]), parts[0].dtype)
                for shard, place in enumerate(places):
                    out[place] = parts[shard][rows_B[place] - firsts[shard]]
        return bench.clips

    return visit


def rows(bench: Bench) -> Visit:
    """Copy row by row, through memoryviews."""
    mapped = _map(bench)
    views = [[part.reshape(-1).view(np.uint8).data for part in parts] for parts in mapped]
    widths = [parts[0].shape[1] * parts[0].itemsize for parts in mapped]
    firsts = _first_rows(mapped)

    def visit(number: int) -> int:
        for rows_B in batches_of(epoch_order(bench.clips, seed=1, epoch=number), BATCH_CLIPS):
            shard_B = np.searchsorted(firsts, rows_B, side="right") - 1
            shards, places = shard_B.tolist(), (rows_B - firsts[shard_B]).tolist()
            for parts, width in zip(views, widths, strict=True):
                out = np.empty(len(rows_B) * width, np.uint8).data
                for row, (shard, place) in enumerate(zip(shards, places, strict=True)):
                    out[row * width : (row + 1) * width] = parts[shard][place * width : (place + 1) * width]
        return bench.clips

    return visit


def written(bench: Bench) -> list[Path]:
    """Write the files, once, and return them."""
    from safetensors.numpy import save_file

    paths = [bench.folder / f"{number}.safetensors" for number in range(bench.shards)]
    for number, path in enumerate(paths):
        if not path.exists():
            save_file(
                {str(p): np.array_split(array, bench.shards)[number] for p, array in enumerate(bench.arrays)}, path
            )
    return paths


def _map(bench: Bench) -> list[list[np.ndarray]]:
    """Return the mapped arrays by place and shard."""
    found: list[list[np.ndarray]] = [[] for _ in bench.arrays]
    for path in written(bench):
        mapped = np.memmap(path, np.uint8, "r")
        size = int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8 : 8 + size].tobytes())
        for place, parts in enumerate(found):
            about = header[str(place)]
            start, end = (8 + size + offset for offset in about["data_offsets"])
            parts.append(np.asarray(mapped)[start:end].view(_DTYPES[about["dtype"]]).reshape(about["shape"]))
    return found


def _first_rows(mapped: list[list[np.ndarray]]) -> np.ndarray:
    return np.cumsum([0, *(len(part) for part in mapped[0])])
