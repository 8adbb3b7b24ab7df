"""Read a table of labels: rows of text values under keys that name assets."""

from __future__ import annotations

import datetime
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from mmpipe.config import LabelsConfig
from mmpipe.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of the table; `values` has the columns that are not null, as text, without the key."""

    key: str
    number: int  # of the row, from 1, for messages
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """The rows of a labels file in its order, and its columns sorted."""

    rows: tuple[LabelRow, ...]
    columns: tuple[str, ...]


def read_labels(config: LabelsConfig) -> LabelTable:
    """Read a jsonl, csv or parquet table; every value becomes text in one canonical form. Raise ConfigError."""
    records = read_records(config.file)
    columns = _columns(records)
    for role, column in (("key", config.key), ("group", config.group)):
        if records and column is not None and column not in columns:
            raise ConfigError(f"{config.file} has no column {column!r} (`labels.{role}`); its columns are: {columns}")
    rows = tuple(_row(config, number, record) for number, record in enumerate(records, start=1))
    return LabelTable(rows=rows, columns=tuple(columns))


def read_columns(file: Path) -> tuple[str, ...]:
    """Return the columns of a table whose key is not known yet, sorted. Raise ConfigError as `read_labels` does."""
    return tuple(_columns(read_records(file)))


def _columns(records: list[dict[str, Any]]) -> list[str]:
    return sorted({column for record in records for column in record})


def read_records(file: Path, data: bytes | None = None) -> list[dict[str, Any]]:
    """Return the rows of a jsonl, csv or parquet table, of its bytes where they are at hand. Raise ConfigError."""
    readers = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"the table {file} must end with one of: {', '.join(sorted(readers))}")
    try:
        data = file.read_bytes() if data is None else data
    except OSError as error:
        raise ConfigError(f"cannot read the labels file {file}: {error.strerror}. Correct `labels.file`.") from error
    return reader(file, data)


def _row(config: LabelsConfig, number: int, record: dict[str, Any]) -> LabelRow:
    values: dict[str, str] = {}
    for column, value in sorted(record.items()):
        try:
            text = canonical_text(value)
            if text is not None:
                text.encode()
                column.encode()
                values[column] = text
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{config.file}, row {number}, column {column!r}: {error}") from error
    key = values.pop(config.key, "")
    if not key:
        raise ConfigError(f"{config.file}, row {number} has no value in the key column {config.key!r}")
    return LabelRow(key=key, number=number, values=values)


def canonical_text(value: object) -> str | None:
    """Return the one text of a value, None for null and NaN: 3, 3.0 and "3" agree, whatever file they came from."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal):
        return _number_text(float(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    raise TypeError(f"a value of type {type(value).__name__} cannot be a label; use text, numbers, dates or lists")


def _number_text(number: float) -> str | None:
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise ValueError("an infinite number cannot be a label")
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _read_jsonl(file: Path, data: bytes) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode(), object_pairs_hook=_object_without_twins)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{file}, line {number} is not JSON in UTF-8: {error}") from error
        if not isinstance(record, dict):
            raise ConfigError(f"{file}, line {number} must be a JSON object, not a {type(record).__name__}")
        records.append(record)
    return records


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def _read_csv(file: Path, data: bytes) -> list[dict[str, Any]]:
    if not data.strip():
        return []
    try:
        # Without inference: "01" is a label, and must not become 1.
        return pl.read_csv(io.BytesIO(data), infer_schema=False).to_dicts()
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{file} is not a CSV table in UTF-8 with a header: {error}") from error


def _read_parquet(file: Path, data: bytes) -> list[dict[str, Any]]:
    try:
        return pl.read_parquet(io.BytesIO(data)).to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigError(f"{file} is not a Parquet table: {error}") from error
