"""Writing shards: ours, webdataset's TarWriter, and the least that the bytes of the sequence can cost."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.readers.bench import CORPUS, DAY, STEPS, Bench, sample_features
from benchmarks.readers.race import Contestant, Visit
from benchmarks.readers.webdataset_tars import EXPORTED, FIELDS
from mmpipe.store.shard import ShardSpec
from mmpipe.store.writer import open_shard_writer
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue

_CLIPS = 3000
_PIECE_BYTES = 256 << 10


def contestants(bench: Bench) -> list[Contestant]:
    """Return who writes; what was written is removed after every round, untimed."""
    clips = min(bench.clips, _CLIPS)
    schemas = [feature.schema for feature in sample_features()]
    shapes = [(STEPS, schemas[0].dim), *((schema.dim,) for schema in schemas[1:])]
    arrays = [array[:clips].reshape(clips, *shape) for array, shape in zip(bench.arrays, shapes, strict=True)]
    sequence = arrays[0]
    ways: dict[str, Callable[[Path], Visit]] = {
        "write": partial(ours, arrays, schemas),
        "tarwriter": partial(tarwriter, dict(zip(EXPORTED, arrays, strict=True))),
        "write_sequence": partial(ours, [sequence], schemas[:1]),
        "tarwriter_sequence": partial(tarwriter, {FIELDS[0]: sequence}),
        "write_floor": partial(floor, sequence),
        "write_floor_digests": partial(floor_digests, sequence),
    }
    found = []
    for name, way in ways.items():
        folder = bench.folder / f"writing-{name}"
        tidy = partial(shutil.rmtree, folder)
        found.append(Contestant(name=name, prepare=partial(way, folder), tidy=tidy))
    return found


def ours(arrays: Sequence[np.ndarray], schemas: Sequence[FeatureSchema], folder: Path) -> Visit:
    """Write a shard of every feature: each value checked, described and hashed, and each file hashed."""
    times_ns = np.arange(STEPS, dtype=np.int64)

    def visit(number: int) -> int:
        for array, schema in zip(arrays, schemas, strict=True):
            staging = folder / schema.feature
            staging.mkdir(parents=True)
            spec = ShardSpec(corpus=CORPUS, partition=DAY, number=0, schema=schema, fingerprint="")
            is_sequence = schema.kind is FeatureKind.SEQUENCE
            writer = open_shard_writer(spec, staging)
            for row, value in enumerate(array):
                told = FeatureValue(array=value, times_ns=times_ns if is_sequence else None)
                writer.add(f"k{row:06d}", row, "", 0, STEPS, told)
            assert writer.close().samples == len(array)
        return len(arrays[0])

    return visit


def tarwriter(fields: Mapping[str, np.ndarray], folder: Path) -> Visit:
    """Write the same values with webdataset, joined under one key: no index, no check, no digest."""
    import webdataset

    def visit(number: int) -> int:
        folder.mkdir()
        clips = len(next(iter(fields.values())))
        with webdataset.TarWriter(str(folder / "0.tar")) as writer:
            for row in range(clips):
                values = {name: array[row] for name, array in fields.items()}
                writer.write({"__key__": f"k{row:06d}", **values})
        return clips

    return visit


def floor(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write the finished bytes of our tar and hash them once: a tar that a manifest can name costs no less."""
    return _floor(x_NTD, folder, digests=False)


def floor_digests(x_NTD: np.ndarray, folder: Path) -> Visit:
    """Write and hash the finished bytes, and hash every value for the index: what this layout costs at the least."""
    return _floor(x_NTD, folder, digests=True)


def _floor(x_NTD: np.ndarray, folder: Path, digests: bool) -> Visit:
    schema = sample_features()[0].schema
    ours([x_NTD], [schema], folder)(0)
    data = memoryview((folder / schema.feature / "000000.tar").read_bytes())
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
