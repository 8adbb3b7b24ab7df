"""Shards of sequences: a tar of uncompressed npy files that WebDataset streams, with an index that lets us map it.

The tar is plain USTAR with nothing of the moment in it (time 0, owner 0, mode 0644), so equal values are equal bytes.
Every array's numbers start at a multiple of 64: a tar block is 512 bytes and an npy header a multiple of 64.
"""

from __future__ import annotations

import io
import math
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from mmpipe.store.hashedfile import HashedFile
from mmpipe.store.parquet import write_parquet
from mmpipe.store.shard import RawValue, RowGuard, ShardSpec, StagedShard, array_sha256, check_raw, stage_file
from mmpipe.store.statistics import StatisticsCounter
from mmpipe.types import FeatureValue

ALIGNMENT = 64
_BLOCK = tarfile.BLOCKSIZE
_NAME_BYTES, _CHECKSUM = 100, 148  # of a tar block: how long a name may be, and where the sum stands
INDEX_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("ordinal", pa.int64()),
        pa.field("stream", pa.string()),  # digest of the stream that the value came from
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("offset", pa.int64()),  # of the array's first number in the tar
        pa.field("nbytes", pa.int64()),
        pa.field("shape", pa.list_(pa.int32())),
        pa.field("dtype", pa.string()),
        pa.field("sha256", pa.string()),  # of the array's bytes
        pa.field("times_ns", pa.list_(pa.int64())),
    ]
)


class TarShardWriter:
    """Stream values into a tar, and write its index at the end; memory holds a piece of the tar and the index."""

    def __init__(self, spec: ShardSpec, staging: Path) -> None:
        """Prepare to write `000000.tar` and `000000.parquet` in an existing staging folder."""
        self._spec = spec
        self._tar_path = staging / f"{spec.stem}.tar"
        self._index_path = staging / f"{spec.stem}.parquet"
        self._statistics = StatisticsCounter()
        self._guard = RowGuard(spec.schema, self._statistics.add_finite)  # what it lets in is counted
        self._rows: list[tuple[str, int, str, int, int, int, int, int, str]] = []
        self._times_ns = bytearray()
        self._file: HashedFile | None = None

    def add(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, value: FeatureValue) -> None:
        """Append a value in the order of ordinals; SampleError refuses it and leaves the shard as it was."""
        array_TD = self._guard.accept(key, ordinal, value)
        self._append((key, ordinal, stream, start_ns, end_ns), value, array_TD, array_sha256(array_TD))

    def add_raw(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, raw: RawValue) -> None:
        """Append a value that another shard of the same fingerprint already holds."""
        value = check_raw(self._spec, raw)
        array_TD = self._guard.accept(key, ordinal, value)
        self._append((key, ordinal, stream, start_ns, end_ns), value, array_TD, raw.sha256 or array_sha256(array_TD))

    def close(self) -> StagedShard:
        """Finish both files; a shard with no value has none, because other readers fail on empty ones."""
        samples = len(self._rows)
        if self._file is None:
            return StagedShard(files=(), samples=0, statistics=self._statistics.result())
        self._file.append(bytes(2 * _BLOCK))
        tar = stage_file(self._tar_path, "data", self._tar_path.name, self._file.finish())
        facts = {**self._spec.facts(), "tar_sha256": tar.entry.sha256}
        write_parquet(self._index_path, self._index(), facts, dictionary=("stream", "dtype"))
        index = stage_file(self._index_path, "index", self._index_path.name)
        return StagedShard(files=(tar, index), samples=samples, statistics=self._statistics.result())

    def discard(self) -> None:
        """Give up the shard and remove what was staged."""
        if self._file is not None:
            self._file.close()
        self._tar_path.unlink(missing_ok=True)
        self._index_path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Remove what was staged where the work failed."""
        if kind is not None:
            self.discard()

    def _append(
        self, place: tuple[str, int, str, int, int], value: FeatureValue, array_TD: np.ndarray, sha256: str
    ) -> None:
        if self._file is None:
            self._file = HashedFile(self._tar_path)
        before, after = member_around(place[0], array_TD.shape, self._spec.schema.dtype)
        self._file.append(before)
        offset = self._file.position
        assert offset % ALIGNMENT == 0, f"{place[0]} would start at {offset}"
        self._file.append(array_TD.data.cast("B"))
        self._file.append(after)
        assert value.times_ns is not None
        self._times_ns += value.times_ns.tobytes()
        self._rows.append((*place, offset, array_TD.nbytes, len(array_TD), sha256))

    def _index(self) -> pa.Table:
        """Return the index, with the nested columns made from their numbers: cells as Python objects cost more."""
        *plain, lengths, sha256s = (list(column) for column in zip(*self._rows, strict=True))
        num_rows = len(lengths)
        shapes = np.full((num_rows, 2), self._spec.schema.dim, np.int32)
        shapes[:, 0] = lengths
        shape_starts = np.arange(num_rows + 1, dtype=np.int32) * 2
        time_starts = np.concatenate([[0], np.cumsum(shapes[:, 0])], dtype=np.int32)
        shape = pa.ListArray.from_arrays(shape_starts, shapes.reshape(-1))
        times_ns = pa.ListArray.from_arrays(time_starts, np.frombuffer(self._times_ns, np.int64))
        columns = [*plain, shape, [self._spec.schema.dtype] * num_rows, sha256s, times_ns]
        return pa.table(columns, schema=INDEX_SCHEMA)


def member_around(key: str, shape: tuple[int, ...], dtype: str) -> tuple[bytes, bytes]:
    """Return what stands before and after an array in the tar: its block and npy header, and zeros to a full block.

    tarfile and numpy make these without a name, once for every shape; this writes the name and the sum of the bytes.
    """
    blank, total, after = _nameless(shape, dtype)
    name = f"{key}.npy".encode("ascii")
    assert len(name) < _NAME_BYTES, f"the name of {key} does not fit a tar"
    checksum = b"%06o\0" % (total + sum(name))
    return b"".join((name, blank[len(name) : _CHECKSUM], checksum, blank[_CHECKSUM + len(checksum) :])), after


@lru_cache(maxsize=1024)
def _nameless(shape: tuple[int, ...], dtype: str) -> tuple[bytes, int, bytes]:
    """Return a member's block with an empty name and its npy header, the sum that tar keeps, and the zeros after it."""
    header = npy_header(shape, dtype)
    member = tarfile.TarInfo("")
    member.size = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    member.mode = 0o644
    block = member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    return block + header, int(block[_CHECKSUM : _CHECKSUM + 6], 8), bytes(-member.size % _BLOCK)


def npy_header(shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    """Return the npy header of an array in C order; numpy pads it so that the numbers are aligned."""
    buffer = io.BytesIO()
    description = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()
