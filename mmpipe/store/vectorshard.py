"""Shards of vectors: Parquet with one fixed-size list of numbers per clip, which every table engine reads."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from mmpipe.store.parquet import write_parquet
from mmpipe.store.shard import RawValue, RowGuard, ShardSpec, StagedShard, check_raw, stage_file
from mmpipe.store.statistics import StatisticsCounter
from mmpipe.types import FeatureValue


def vector_schema(dim: int, dtype: str = "float32") -> pa.Schema:
    """Return the columns of a vector shard; `event_date` is the partition under a name that no path repeats."""
    return pa.schema(
        [
            pa.field("key", pa.string()),
            pa.field("ordinal", pa.int64()),
            pa.field("stream", pa.string()),  # digest of the stream that the value came from
            pa.field("start_ns", pa.int64()),
            pa.field("end_ns", pa.int64()),
            pa.field("event_date", pa.date32()),
            pa.field("value", pa.list_(pa.from_numpy_dtype(dtype), dim)),
        ]
    )


class VectorShardWriter:
    """Collect the vectors of one shard and write them as one Parquet file."""

    def __init__(self, spec: ShardSpec, staging: Path) -> None:
        """Prepare to write `000000.parquet` in an existing staging folder."""
        self._spec = spec
        self._path = staging / f"{spec.stem}.parquet"
        self._statistics = StatisticsCounter()
        self._guard = RowGuard(spec.schema)
        self._rows: list[tuple[str, int, str, int, int]] = []
        self._numbers = bytearray()  # of all vectors, one after the other

    def add(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, value: FeatureValue) -> None:
        """Append a value in the order of ordinals; SampleError refuses it and leaves the shard as it was."""
        array_D = self._guard.accept(key, ordinal, value)
        self._numbers += array_D.data  # a copy: the caller may use its buffer again
        self._rows.append((key, ordinal, stream, start_ns, end_ns))

    def add_raw(self, key: str, ordinal: int, stream: str, start_ns: int, end_ns: int, raw: RawValue) -> None:
        """Append a value that another shard of the same fingerprint already holds."""
        self.add(key, ordinal, stream, start_ns, end_ns, check_raw(self._spec, raw))

    def close(self) -> StagedShard:
        """Write the file; a shard with no value has none, because other readers fail on empty ones."""
        samples = len(self._rows)
        if not samples:
            return StagedShard(files=(), samples=0, statistics=self._statistics.result())
        x_ND = np.frombuffer(self._numbers, self._spec.schema.dtype).reshape(samples, self._spec.schema.dim)
        self._statistics.add_rows(x_ND)
        write_parquet(self._path, self._table(), self._spec.facts(), dictionary=("stream",))
        files = (stage_file(self._path, "data", self._path.name),)
        return StagedShard(files=files, samples=samples, statistics=self._statistics.result())

    def discard(self) -> None:
        """Give up the shard and remove what was staged."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Remove what was staged where the work failed."""
        if kind is not None:
            self.discard()

    def _table(self) -> pa.Table:
        dim, dtype = self._spec.schema.dim, self._spec.schema.dtype
        kind = pa.from_numpy_dtype(dtype)
        numbers = pa.Array.from_buffers(kind, dim * len(self._rows), [None, pa.py_buffer(self._numbers)])
        columns = [list(column) for column in zip(*self._rows, strict=True)]
        dates = pa.repeat(pa.scalar(date.fromisoformat(self._spec.partition)), len(self._rows))
        arrays = [*columns, dates, pa.FixedSizeListArray.from_arrays(numbers, dim)]
        return pa.table(arrays, schema=vector_schema(dim, dtype))
