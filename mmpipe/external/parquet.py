"""Rows of a Parquet file: the key in one column, the value in a list column or in several columns of floats."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.external.pin import Selection, Shape
from mmpipe.external.values import shape_of

SUFFIXES = (".parquet",)


def complete_selection(path: Path, name: str, selection: Selection) -> Selection:
    """Return the selection with its columns named: where none is, the only column of lists of floats."""
    import dataclasses

    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    missing = sorted({selection.key, *selection.columns} - set(schema.names))
    if missing:
        raise ConfigError(f"{name} has no column {missing[0]!r}; its columns are: {', '.join(schema.names)}")
    if selection.columns:
        return selection
    found = [field.name for field in schema if _is_list(field.type)]
    if len(found) != 1:
        raise ConfigError(f"{name} has {len(found)} columns of lists: {found}. Name the one of the value with --column")
    return dataclasses.replace(selection, columns=(found[0],))


def read_keys(path: Path, selection: Selection) -> Iterator[str]:
    """Yield the keys in the order of rows; a null is no key."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[selection.key]):
            yield from (str(key) for key in batch.column(0).to_pylist() if key is not None)


def read_shape(path: Path, name: str, selection: Selection) -> Shape | None:
    """Return the shape of the first row that has a value; None where the file has none."""
    for _, array in read_rows(path, name, selection, None):
        return shape_of(array.shape, array.dtype, f"the column {selection.columns[0]!r} of {name}")
    return None


def read_rows(
    path: Path, name: str, selection: Selection, wanted: Container[str] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the wanted rows (None: all); a row without a value is left out."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            keys = file.read_row_group(group, columns=[selection.key]).column(0).to_pylist()
            chosen = [row for row, key in enumerate(keys) if key is not None and (wanted is None or str(key) in wanted)]
            if not chosen:
                continue
            table = file.read_row_group(group, columns=list(selection.columns)).take(chosen)
            columns = [table.column(column) for column in selection.columns]
            for place, row in enumerate(chosen):
                cells = [column[place] for column in columns]
                if all(cell.is_valid for cell in cells):
                    yield str(keys[row]), _to_array(cells, f"row {row} of {name}")


def _to_array(cells: list[Any], where: str) -> np.ndarray:
    """Return a row's cells as one array: a list as it is, several floats as a vector."""
    if len(cells) > 1 or not _is_list(cells[0].type):
        return np.array([_number(cell, where) for cell in cells], dtype=_dtype(cells[0].type))
    return _nested(cells[0], where)


def _nested(cell: Any, where: str) -> np.ndarray:
    if not _is_list(cell.type.value_type):
        values = cell.values
        if values.null_count:
            values = values.cast(cell.type.value_type).fill_null(float("nan"))  # counted as not finite, with the reason
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=_dtype(cell.type.value_type))
    steps = [_nested(step, where) for step in cell if step.is_valid]
    if len({len(step) for step in steps}) > 1 or len(steps) != len(cell):
        return np.full((1, 0), np.nan, np.float32)  # ragged: no array has this shape, and the row says so
    return np.stack(steps) if steps else np.empty((0, 0), np.float32)


def _number(cell: Any, where: str) -> float:
    value = cell.as_py()
    if not isinstance(value, float):
        raise ConfigError(f"{where} holds {cell.type} where a float is wanted; name columns of floats with --column")
    return value


def _dtype(kind: Any) -> np.dtype:
    return np.dtype(kind.to_pandas_dtype())


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
