"""Shards of sequences: a tar of uncompressed npy files that WebDataset streams, with an index that lets us map it.

The tar is plain USTAR with nothing of the moment in it (time 0, owner 0, mode 0644), so equal values are equal bytes.
Every array's numbers start at a multiple of 64: a tar block is 512 bytes and an npy header a multiple of 64.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa

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
    """Stream values into a tar, and write its index at the end; memory holds one value and the index."""

    def __init__(self, spec: ShardSpec, staging: Path) -> None:
        """Prepare to write `000000.tar` and `000000.parquet` in an existing staging folder."""
        self._spec = spec
        self._tar_path = staging / f"{spec.stem}.tar"
        self._index_path = staging / f"{spec.stem}.parquet"
        self._guard = RowGuard(spec.schema)
        self._statistics = StatisticsCounter()
        self._hasher = hashlib.sha256()
        self._columns: dict[str, list[object]] = {name: [] for name in INDEX_SCHEMA.names}
        self._position = 0
        self._dtype = spec.schema.dtype
        self._file: BinaryIO | None = None

    def add(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, value: FeatureValue) -> None:
        """Append a value in the order of ordinals; SampleError refuses it and leaves the shard as it was."""
        array_TD = self._guard.accept(key, ordinal, value)
        header = npy_header(array_TD.shape, self._dtype)
        self._write(member_header(key, len(header) + array_TD.nbytes) + header)
        offset = self._position
        assert offset % ALIGNMENT == 0, f"{key} would start at {offset}"
        self._write(array_TD.data.cast("B"))
        self._write(bytes(-self._position % _BLOCK))
        self._statistics.add(array_TD)
        row = (key, ordinal, stream, start_ns, end_ns, offset, array_TD.nbytes, list(array_TD.shape), self._dtype)
        for name, cell in zip(INDEX_SCHEMA.names, (*row, array_sha256(array_TD), value.times_ns), strict=True):
            self._columns[name].append(cell)

    def add_raw(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, raw: RawValue) -> None:
        """Append a value that another shard of the same fingerprint already holds."""
        self.add(key, ordinal, stream, start_ns, end_ns, check_raw(self._spec, raw))

    def close(self) -> StagedShard:
        """Finish both files; a shard with no value has none, because other readers fail on empty ones."""
        samples = len(self._columns["key"])
        if not samples:
            return StagedShard(files=(), samples=0, statistics=self._statistics.result())
        self._write(bytes(2 * _BLOCK))
        assert self._file is not None
        self._file.close()
        tar = stage_file(self._tar_path, "data", self._tar_path.name, self._hasher.hexdigest())
        facts = {**self._spec.facts(), "tar_sha256": tar.entry.sha256}
        table = pa.table(self._columns, schema=INDEX_SCHEMA)
        write_parquet(self._index_path, table, facts, dictionary=("stream", "dtype"))
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

    def _write(self, data: bytes | memoryview) -> None:
        if self._file is None:
            self._file = open(self._tar_path, "xb")  # noqa: SIM115  closed by close or discard
        self._file.write(data)
        self._hasher.update(data)
        self._position += len(data)


def member_header(key: str, nbytes: int) -> bytes:
    """Return the tar block before a member.

    tarfile makes one without a name for every size, once; this writes the name and the sum of the bytes into it.
    """
    blank, total = _nameless_header(nbytes)
    name = f"{key}.npy".encode("ascii")
    assert len(name) < _NAME_BYTES, f"the name of {key} does not fit a tar"
    checksum = b"%06o\0" % (total + sum(name))
    return b"".join((name, blank[len(name) : _CHECKSUM], checksum, blank[_CHECKSUM + len(checksum) :]))


@lru_cache(maxsize=1024)
def _nameless_header(nbytes: int) -> tuple[bytes, int]:
    """Return a member's block with an empty name, and the sum that tar keeps of it."""
    member = tarfile.TarInfo("")
    member.size = nbytes
    member.mode = 0o644
    block = member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    return block, int(block[_CHECKSUM : _CHECKSUM + 6], 8)


@lru_cache(maxsize=1024)
def npy_header(shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    """Return the npy header of an array in C order; numpy pads it so that the numbers are aligned."""
    buffer = io.BytesIO()
    description = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()
