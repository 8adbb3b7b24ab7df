"""Read a table of labels: rows of text values under keys that name assets."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from mmpipe.config import LabelsConfig
from mmpipe.errors import ConfigError
from mmpipe.sources.records import RowFault, read_records, require_some

UNUSABLE = "label_not_usable"
_MOST_CHARACTERS = 4 << 20  # of one value: as much as one text file may have


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of the table; `values` has the columns that are not null, as text, without the key."""

    key: str
    number: int  # of the row, from 1, for messages
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """The rows of a labels file in its order, its columns sorted, and what of it is no label."""

    rows: tuple[LabelRow, ...]
    columns: tuple[str, ...]
    faults: tuple[RowFault, ...] = ()  # rows that cannot be used


def read_labels(config: LabelsConfig) -> LabelTable:
    """Read a jsonl, csv or parquet table; every value becomes text in one canonical form.

    A row that cannot be used is a fault. Raise ConfigError where the table or a column is missing, or no row is left.
    """
    records = read_records(config.file)
    columns = records.columns
    for role, column in (("key", config.key), ("group", config.group), ("split", config.split)):
        if records.rows and column is not None and column not in columns:
            raise ConfigError(f"{config.file} has no column {column!r} (`labels.{role}`); its columns are: {columns}")
    rows, faults = [], [*records.faults]
    for number, record in records.rows:
        row = _row(config, number, record)
        if isinstance(row, LabelRow):
            rows.append(row)
        else:
            faults.append(row)
    table = LabelTable(
        rows=tuple(rows), columns=tuple(columns), faults=tuple(sorted(faults, key=lambda fault: fault.number))
    )
    require_some(config.file, table.rows, table.faults)
    return table


def read_columns(file: Path) -> tuple[str, ...]:
    """Return the columns of a table whose key is not known yet, sorted. Raise ConfigError as `read_labels` does."""
    return tuple(read_records(file).columns)


def _row(config: LabelsConfig, number: int, record: dict[str, Any]) -> LabelRow | RowFault:
    raw_key = record.get(config.key)
    try:
        key = "" if isinstance(raw_key, list | dict) else _label_text(raw_key) or ""
    except (ValueError, TypeError):
        key = ""
    if not key.strip():
        said = "has no value" if raw_key is None or raw_key == "" else f"has {str(raw_key)[:40]!r}, which is no name,"
        detail = f"row {number} {said} in the key column {config.key!r}"
        return RowFault(number=number, code="label_without_key", detail=detail)
    values: dict[str, str] = {}
    for column, value in sorted(record.items()):
        try:
            text = _label_text(value)
            column.encode()
        except (ValueError, TypeError) as error:
            detail = f"row {number}, column {column[:200]!r}: {error}"
            return RowFault(number=number, code=UNUSABLE, detail=detail, key=key)
        if text is not None and column != config.key:
            values[column] = text
    return LabelRow(key=key, number=number, values=values)


def _label_text(value: object) -> str | None:
    """Return a value's text as a store can hold it."""
    text = canonical_text(value)
    if text is not None:
        text.encode()
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"{len(text)} characters, allowed are {_MOST_CHARACTERS}")
    return text


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
