"""Joined samples as Parquet: one row per clip, one column per feature, null where the clip lacks the modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmpipe.export.sample import FACT_MEANING, Column, Joined, Shape, WrittenFile, axes_of, times_meaning
from mmpipe.types import FeatureKind, FeatureSchema


class ParquetFormat:
    """Write one file per batch; plain enough for polars, DuckDB, pandas, pyarrow and Hugging Face datasets."""

    def write_split(self, folder: Path, split: str, batches: Iterator[list[Joined]], shape: Shape) -> list[WrittenFile]:
        """Write `data/SPLIT-000000.parquet` and so on: only Parquet under `data/`, because readers stumble on more."""
        files = []
        (folder / "data").mkdir(exist_ok=True)
        for number, batch in enumerate(batches):
            name = f"data/{split}-{number:06d}.parquet"
            table = to_table(batch, shape)
            text = [field.name for field in table.schema if pa.types.is_string(field.type)]
            pq.write_table(table, folder / name, compression="zstd", use_dictionary=text, write_page_checksum=True)
            files.append(WrittenFile(name=name, clips=len(batch)))
        return files

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for polars."""
        return (
            "import polars as pl\n\n"
            f'clips = pl.scan_parquet("data/{next(iter(files))}-*.parquet").collect()\n'
            f'values = clips["{shape.features[0].feature}"].drop_nulls()  # null where the clip lacks it'
        )

    def columns(self, shape: Shape) -> list[Column]:
        """Return the columns of a row."""
        return row_columns(shape)


def row_columns(shape: Shape) -> list[Column]:
    """Return the columns of `arrow_schema` with what they mean."""
    meanings = dict(FACT_MEANING)
    meanings["labels"] = "the labels table's columns, each a text; null where its row says nothing"
    for schema in shape.features:
        meanings[schema.feature] = (
            f"`{axes_of(schema)}`: the {schema.modality.value} feature; null where the clip lacks it"
        )
        meanings[f"{schema.feature}_times_ns"] = times_meaning(schema)
    return [
        Column(name=field.name, type=str(field.type), meaning=meanings[field.name]) for field in arrow_schema(shape)
    ]


def arrow_schema(shape: Shape) -> pa.Schema:
    """Return the columns of a joined row."""
    fields = [pa.field("key", pa.string(), nullable=False)]
    fields += [pa.field(name, pa.int64() if name in shape.whole_numbers else pa.string()) for name in shape.facts]
    if shape.labels:
        fields.append(pa.field("labels", pa.struct([(name, pa.string()) for name in shape.labels])))
    for schema in shape.features:
        fields.append(pa.field(schema.feature, _value_type(schema)))
        if schema.kind is FeatureKind.SEQUENCE:
            fields.append(pa.field(f"{schema.feature}_times_ns", pa.list_(pa.int64())))
    return pa.schema(fields)


def to_table(samples: Sequence[Joined], shape: Shape) -> pa.Table:
    """Return samples as a table of `arrow_schema`."""
    columns: list[pa.Array] = [pa.array([sample.key for sample in samples], pa.string())]
    for name in shape.facts:
        kind = pa.int64() if name in shape.whole_numbers else pa.string()
        columns.append(pa.array([sample.facts[name] for sample in samples], kind))
    if shape.labels:
        rows = [{name: sample.labels.get(name) for name in shape.labels} for sample in samples]
        columns.append(pa.array(rows, pa.struct([(name, pa.string()) for name in shape.labels])))
    for schema in shape.features:
        columns.append(_values(samples, schema))
        if schema.kind is FeatureKind.SEQUENCE:
            columns.append(pa.array([sample.times_ns.get(schema.feature) for sample in samples], pa.list_(pa.int64())))
    return pa.table(columns, schema=arrow_schema(shape))


def _value_type(schema: FeatureSchema) -> pa.DataType:
    step = pa.list_(pa.from_numpy_dtype(np.dtype(schema.dtype)), schema.dim)
    return pa.list_(step) if schema.kind is FeatureKind.SEQUENCE else step


def _values(samples: Sequence[Joined], schema: FeatureSchema) -> pa.Array:
    """Return a feature's column from one run of numbers; a null has zero steps, or zeros that nobody sees."""
    values = [sample.values[schema.feature] for sample in samples]
    missing = np.array([value is None for value in values])
    if schema.kind is FeatureKind.VECTOR:
        blank = np.zeros(schema.dim, schema.dtype)
        numbers = np.concatenate([blank if value is None else value for value in values])
        return pa.FixedSizeListArray.from_arrays(
            pa.array(numbers), schema.dim, mask=pa.array(missing) if missing.any() else None
        )
    steps = [0 if value is None else len(value) for value in values]
    blank = np.empty(0, schema.dtype)
    numbers = np.concatenate([blank, *(value.reshape(-1) for value in values if value is not None)])
    inner = pa.FixedSizeListArray.from_arrays(pa.array(numbers), schema.dim)
    offsets = pa.array(np.concatenate([[0], np.cumsum(steps)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, inner, mask=pa.array(missing) if missing.any() else None)
