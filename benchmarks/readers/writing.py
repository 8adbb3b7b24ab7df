"""Writing a shard of sequences: ours, webdataset's TarWriter, and the least that the same bytes can cost."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.readers.bench import CORPUS, DAY, STEPS, Bench, sample_features
from benchmarks.readers.race import Contestant, Visit
from mmpipe.store.shard import ShardSpec
from mmpipe.store.tarshard import TarShardWriter
from mmpipe.types import FeatureValue

_CLIPS = 3000
_PIECE_BYTES = 256 << 10


def contestants(bench: Bench) -> list[Contestant]:
    """Return who writes; what was written is removed after every round, untimed."""
    x_NTD = bench.arrays[0][:_CLIPS].reshape(min(bench.clips, _CLIPS), STEPS, -1)
    ways = {"write": ours, "tarwriter": tarwriter, "write_floor": floor, "write_floor_digests": floor_digests}
    found = []
    for name, way in ways.items():
        folder = bench.folder / f"writing-{name}"
        tidy = partial(shutil.rmtree, folder)
        found.append(Contestant(name=name, prepare=partial(way, x_NTD, folder), tidy=tidy))
    return found


def ours(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write a shard with its index: every value checked, described and hashed, and the tar hashed."""
    spec = ShardSpec(corpus=CORPUS, partition=DAY, number=0, schema=sample_features()[0].schema, fingerprint="")
    times_ns = np.arange(STEPS, dtype=np.int64)

    def visit(number: int) -> int:
        folder.mkdir()
        writer = TarShardWriter(spec, folder)
        for row, x_TD in enumerate(x_NTD):
            writer.add(f"k{row:06d}", row, "", 0, STEPS, FeatureValue(array=x_TD, times_ns=times_ns))
        return writer.close().samples

    return visit


def tarwriter(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write the same members with webdataset: no index, no check, no digest."""
    import webdataset

    def visit(number: int) -> int:
        folder.mkdir()
        with webdataset.TarWriter(str(folder / "0.tar")) as writer:
            for row, x_TD in enumerate(x_NTD):
                writer.write({"__key__": f"k{row:06d}", "npy": x_TD})
        return len(x_NTD)

    return visit


def floor(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write the finished bytes of our tar and hash them once: a tar that a manifest can name costs no less."""
    return _floor(x_NTD, folder, digests=False)


def floor_digests(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write and hash the finished bytes, and hash every value for the index: what this layout costs at the least."""
    return _floor(x_NTD, folder, digests=True)


def _floor(x_NTD: np.ndarray, folder: Path, digests: bool) -> Visit:
    ours(x_NTD, folder)(0)
    data = memoryview((folder / "000000.tar").read_bytes())
    shutil.rmtree(folder)

    def visit(number: int) -> int:
        folder.mkdir()
        hasher = hashlib.sha256()
        with open(folder / "0.tar", "xb", buffering=0) as file:
            for start in range(0, len(data), _PIECE_BYTES):
                piece = data[start : start + _PIECE_BYTES]
                os.write(file.fileno(), piece)
                hasher.update(piece)
        if digests:
            for x_TD in x_NTD:
                hashlib.sha256(x_TD.data).hexdigest()
        return len(x_NTD)

    return visit
