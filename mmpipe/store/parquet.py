"""The one way shards write and read Parquet: page checksums on, reproducible bytes, our facts in the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json

METADATA_KEY = b"mmpipe"
_ROW_GROUP_BYTES = 64 << 20


def write_parquet(path: Path, table: pa.Table, facts: dict[str, Any], dictionary: Sequence[str]) -> None:
    """Write a table with `facts` under the key `mmpipe`; only the columns in `dictionary` are dictionary-encoded.

    A dictionary over float columns only costs time: nothing in them repeats.
    """
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: canonical_json(facts)}),
        path,
        row_group_size=max(1, _ROW_GROUP_BYTES // row_bytes),
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        use_dictionary=list(dictionary),
        write_statistics=[name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)],
        write_page_checksum=True,
    )


def parse_parquet(
    data: bytes | memoryview,
    schema: pa.Schema,
    where: Path,
    columns: Sequence[str] | None = None,
    nullable: Sequence[str] = (),
) -> tuple[pa.Table, dict[str, Any]]:
    """Read a table that has exactly this schema, and the facts kept with it; or only some columns.

    Only the columns that are `nullable` may hold nulls.
    """
    try:
        # Not pq.read_table: it imports pyarrow.dataset and pandas, most of a second, for what is one file.
        file = pq.ParquetFile(pa.BufferReader(_owned(data)), page_checksum_verification=True)
        table = file.read() if columns is None else file.read(columns=list(columns)).select(list(columns))
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise StoreError(f"{where} is damaged: {type(error).__name__}: {error}. Run `mmpipe verify`.") from error
    expected = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    nulls = any(table[name].null_count for name in table.column_names if name not in nullable)
    if not table.schema.remove_metadata().equals(expected) or nulls:
        raise StoreError(f"{where} does not have the columns {schema.names} without nulls. Run `mmpipe verify`.")
    if not isinstance(facts, dict):
        raise StoreError(f"{where}: its `mmpipe` metadata is not a table. Run `mmpipe verify`.")
    return table, facts


def _owned(data: bytes | memoryview) -> pa.Buffer:
    """Return a copy in Arrow's own memory: its threads let go of it after the read, and Python's may be gone by then.

    A thread that gives a buffer back to an interpreter at its end aborts the process.
    """
    buffer = pa.allocate_buffer(memoryview(data).nbytes)
    np.frombuffer(buffer, np.uint8)[:] = np.frombuffer(data, np.uint8)
    return buffer
