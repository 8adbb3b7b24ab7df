"""Read the columns of numbers of a csv or parquet file behind a descriptor, piece by piece and within limits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmpipe.errors import SampleError

_BLOCK_BYTES = 1 << 20  # a csv row must fit in one
_MAX_COLUMNS = 100_000
_NOTHING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-"]
_THRIFT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberTable:
    """Named columns of numbers, NaN where a cell is empty: float64 [T, D]."""

    columns: tuple[str, ...]
    values_TD: np.ndarray
    others: Mapping[str, str] = field(default_factory=dict)  # the columns that hold no numbers: what they hold


def read_csv_numbers(descriptor: int, wanted: Sequence[str], max_values: int) -> NumberTable:
    """Return the wanted columns of a csv file, or all that hold numbers; a first line of numbers is no header.

    Raise SampleError decode_error, missing_column, array_dtype, limit_array or empty_array.
    """
    import pyarrow as pa
    import pyarrow.csv as csv

    with _reading(descriptor, "csv") as file:
        head = os.pread(descriptor, _BLOCK_BYTES, 0)
        line = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
        delimiter = max(",;\t", key=line.count)
        named = not all(_is_number(cell) for cell in line.strip().split(delimiter))
        names = None if named else [str(number) for number in range(line.count(delimiter) + 1)]
        read = csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names)
        parse = csv.ParseOptions(delimiter=delimiter)
        convert = csv.ConvertOptions(null_values=_NOTHING)
        kinds = csv.open_csv(file, read, parse, convert).schema
        columns = _choose(kinds, wanted)
        _require_room(1, len(columns), max_values)
        file.seek(0)
        types = dict.fromkeys(columns, pa.float64())
        convert = csv.ConvertOptions(null_values=_NOTHING, include_columns=columns, column_types=types)
        return _gather(csv.open_csv(file, read, parse, convert), columns, kinds, max_values)


def read_parquet_numbers(descriptor: int, wanted: Sequence[str], max_values: int) -> NumberTable:
    """Return the wanted columns of a parquet file, or all that hold numbers. Raise as `read_csv_numbers` does."""
    import pyarrow.parquet as pq

    with _reading(descriptor, "parquet") as source:
        limits = {"thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": 1_000_000}
        file = pq.ParquetFile(source, page_checksum_verification=True, **limits)
        columns = _choose(file.schema_arrow, wanted)
        _require_room(file.metadata.num_rows, len(columns), max_values)
        batches = file.iter_batches(16_384, columns=columns, use_threads=False)
        return _gather(batches, columns, file.schema_arrow, max_values)


@contextmanager
def _reading(descriptor: int, kind: str) -> Iterator[Any]:
    """Give a file of the descriptor's bytes; what pyarrow says against them becomes a reason."""
    import pyarrow as pa

    try:
        with open(os.dup(descriptor), "rb") as file:
            file.seek(0)
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SampleError("decode_error", f"no {kind} file of numbers that can be read: {first[:300]}") from error


def _choose(schema: Any, wanted: Sequence[str]) -> list[str]:
    """Return the columns to read, each with one name and numbers in it."""
    import pyarrow.types as kinds

    if len(schema.names) > _MAX_COLUMNS:
        raise SampleError("limit_array", f"{len(schema.names)} columns, allowed are {_MAX_COLUMNS}")
    counts: dict[str, int] = {}
    for name in schema.names:
        counts[name] = counts.get(name, 0) + 1
    if missing := [name for name in wanted if counts.get(name) != 1]:
        how = "comes twice" if missing[0] in counts else f"is not there; there are: {', '.join(schema.names[:20])}"
        raise SampleError("missing_column", f"the column {missing[0]!r} {how}")
    for name in wanted:
        if kinds.is_temporal(kind := schema.field(name).type):
            raise no_numbers(name, str(kind))
    if wanted:
        return list(wanted)
    tests = (kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean)
    found = [column.name for column in schema if any(test(column.type) for test in tests)]
    if twice := [name for name in found if counts[name] > 1]:
        raise SampleError("decode_error", f"the column {twice[0]!r} comes twice")
    if not found:
        raise SampleError("empty_array", f"no column holds numbers; there are: {', '.join(schema.names[:20])}")
    return found


def no_numbers(name: str, kind: str) -> SampleError:
    """Return the refusal of a column that is there and holds something else; times are numbers too."""
    return SampleError(
        "array_dtype", f"the column {name!r} holds {kind}, not numbers; times are seconds from the asset's start"
    )


def _gather(batches: Any, columns: Sequence[str], schema: Any, max_values: int) -> NumberTable:
    """Join batches, and stop at the limit."""
    parts: list[np.ndarray] = []
    num_rows = 0
    for batch in batches:
        num_rows += batch.num_rows
        _require_room(num_rows, len(columns), max_values)
        parts.append(_to_numbers(batch, columns))
    if not num_rows:
        raise SampleError("empty_array", "there is not one row in it")
    others = {column.name: str(column.type) for column in schema if column.name not in columns}
    return NumberTable(columns=tuple(columns), values_TD=np.concatenate(parts), others=others)


def _to_numbers(batch: Any, columns: Sequence[str]) -> np.ndarray:
    import pyarrow as pa

    cells = [batch.column(batch.schema.get_field_index(name)) for name in columns]
    whole = [cell.cast(pa.int8()) if pa.types.is_boolean(cell.type) else cell for cell in cells]
    return np.stack([cell.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for cell in whole], axis=1)


def _require_room(num_rows: int, num_columns: int, max_values: int) -> None:
    if num_rows * num_columns > max_values:
        raise SampleError("limit_array", f"{num_rows} rows of {num_columns} numbers, allowed are {max_values} in all")


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return True
