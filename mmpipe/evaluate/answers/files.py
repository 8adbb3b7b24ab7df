"""Answers as the bytes of one Parquet file: what they are of travels in its metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmpipe.config import Goal
from mmpipe.errors import StoreError
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.registry import answers_class


def to_parquet(answers: Answers) -> bytes:
    """Return answers as the bytes of one Parquet file."""
    arrays = {name: getattr(answers, name) for name in answers.columns}
    shapes = {answers.columns[name]: list(array.shape[1:]) for name, array in arrays.items() if array.ndim > 2}
    table = pa.table(
        {
            "key": pa.array(answers.keys, pa.string()),
            "group": pa.array(answers.groups, pa.string()),
            **{answers.columns[name]: _to_column(array) for name, array in arrays.items()},
        }
    ).replace_schema_metadata(
        {
            "classes": json.dumps(answers.classes, ensure_ascii=False),
            **({"goal": answers.goal.value} if answers.goal is not Goal.CLASSIFY else {}),
            **({"shapes": json.dumps(shapes)} if shapes else {}),
        }
    )
    return _to_bytes(table)


def from_parquet(data: bytes) -> Answers:
    """Read what `to_parquet` wrote."""
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        kind = answers_class(Goal(metadata.get(b"goal", Goal.CLASSIFY.value.encode()).decode()))
        shapes = json.loads(metadata.get(b"shapes", b"{}"))
        return kind(
            keys=tuple(table["key"].to_pylist()),
            groups=tuple(table["group"].to_pylist()),
            classes=tuple(json.loads(metadata[b"classes"])),
            **{name: _from_column(table[column], shapes.get(column)) for name, column in kind.columns.items()},
        )
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise StoreError(f"these bytes are not predictions: {error}. Evaluate the checkpoint again.") from error


def drop_keys(data: bytes, keys: Collection[str]) -> bytes | None:
    """Return what `to_parquet` wrote without the rows of some clips, perhaps without any; None where it has none."""
    try:
        table = pq.read_table(pa.BufferReader(data))
        gone = pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise StoreError(f"these bytes are not predictions: {error}") from error
    return _to_bytes(table.filter(pc.invert(gone))) if pc.any(gone).as_py() else None


def is_empty(data: bytes) -> bool:
    """Say whether predictions are of no clip: all that were asked were forgotten."""
    return bool(pq.read_metadata(pa.BufferReader(data)).num_rows == 0)


def _to_column(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), int(np.prod(array.shape[1:])))


def _from_column(column: pa.ChunkedArray, shape: list[int] | None) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return column.combine_chunks().to_numpy(zero_copy_only=False)
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), *(shape or [column.type.list_size]))


def _to_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()
