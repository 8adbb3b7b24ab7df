"""Read a table: jsonl, csv or parquet. A row that cannot be read is told apart, with a reason; the others stand."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from mmpipe.errors import ConfigError

_MARKS = (  # the longer first: that of UTF-16 begins the one of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WAY_OUT = "save the table as UTF-8"
_LOOKED_AT_BYTES = 64  # of a table, for the zeros that UTF-16 has between its letters
_MOST_SCANS = 1_000  # rows with an open quote: after each, the rest is read from the next line


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """A row that cannot be used; `key` names what it is about, where it can be told."""

    number: int  # of the row, from 1
    code: str
    detail: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The rows of a table with their numbers, from 1, and those that cannot be read."""

    rows: tuple[tuple[int, dict[str, Any]], ...]
    faults: tuple[RowFault, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Return all columns that rows have, sorted."""
        return sorted({column for _, record in self.rows for column in record})


def read_records(file: Path, data: bytes | None = None) -> Records:
    """Return the rows of a table, of its bytes where they are at hand.

    Raise ConfigError where the file is none, or none of its rows can be read.
    """
    readers = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"the table {file} must end with one of: {', '.join(sorted(readers))}")
    try:
        data = file.read_bytes() if data is None else data
    except OSError as error:
        raise ConfigError(f"cannot read the labels file {file}: {error.strerror}. Correct `labels.file`.") from error
    records = reader(file, data if reader is _read_parquet else _in_utf8(file, data))
    require_some(file, records.rows, records.faults)
    return records


def require_some(file: Path, rows: tuple[Any, ...], faults: tuple[RowFault, ...]) -> None:
    """Refuse a table of which no row can be used: it is another kind of file, not a slip in a row."""
    if faults and not rows:
        more = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
        raise ConfigError(f"no row of {file} can be used: {file}, {faults[0].detail}{more}")


def _fault(number: int, detail: str) -> RowFault:
    return RowFault(number=number, code="row_unreadable", detail=detail)


# --------------------------------------------------------------------------- encodings


def _in_utf8(file: Path, data: bytes) -> bytes:
    """Return a table's text in UTF-8 without a mark, where its mark says how it is written; else its bytes.

    Nothing is guessed: a table wrongly decoded would give wrong names. Raise ConfigError for UTF-16 without its mark.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            name = encoding[:6].upper()
            if encoding == "utf-8":
                return data.removeprefix(mark)
            try:
                return data[len(mark) :].decode(encoding).encode()
            except UnicodeError as error:
                raise ConfigError(f"{file} is marked as {name}, and is not: {error}; {_WAY_OUT}") from error
    head = data[:_LOOKED_AT_BYTES]
    if max(head[::2].count(0), head[1::2].count(0)) > len(head) // 4:
        raise ConfigError(f"{file} looks like UTF-16 without its mark: {_WAY_OUT}")
    return data


def _foreign_byte(text: str) -> str:
    """Return what of a text, of which every byte that is not UTF-8 became a surrogate, is not; "" where all is."""
    for letter in text:
        if "\udc80" <= letter <= "\udcff":
            byte = ord(letter) - 0xDC00
            meant = bytes((byte,)).decode("cp1252", "replace")
            return f"the byte 0x{byte:02x} ({meant!r} in cp1252)" if meant.isprintable() else f"the byte 0x{byte:02x}"
    return ""


# --------------------------------------------------------------------------- jsonl


def _read_jsonl(file: Path, data: bytes) -> Records:
    rows, faults = [], []
    lines = data.split(b"\n")
    filled = ((place, line) for place, line in enumerate(lines, start=1) if line.strip())
    for number, (place, line) in enumerate(filled, start=1):
        try:
            record = json.loads(line.decode(), object_pairs_hook=_object_without_twins)
        except UnicodeDecodeError:
            found = _foreign_byte(line.decode("utf-8", "surrogateescape"))
            faults.append(_fault(number, f"line {place} is not JSON in UTF-8: it has {found}; {_WAY_OUT}"))
            continue
        except (ValueError, RecursionError) as error:
            faults.append(_fault(number, f"line {place} is not JSON: {error}"))
            continue
        if isinstance(record, dict):
            rows.append((number, record))
        else:
            faults.append(_fault(number, f"line {place} must be a JSON object, not a {type(record).__name__}"))
    return Records(rows=tuple(rows), faults=tuple(faults))


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


# --------------------------------------------------------------------------- csv


def _read_csv(file: Path, data: bytes) -> Records:
    if not data.strip():
        return Records(rows=())
    try:
        data.partition(b"\n")[0].decode()  # polars itself would read a header in another encoding, into wrong names
        # Without inference: "01" is a label, and must not become 1.
        found = pl.read_csv(io.BytesIO(data), infer_schema=False).to_dicts()
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return _read_csv_by_row(file, data)
    filled = (record for record in found if any(record.values()))  # an empty line is no row
    return Records(rows=tuple(enumerate(filled, start=1)))


def _read_csv_by_row(file: Path, data: bytes) -> Records:
    """Read a table of which some rows cannot be read: slower, and row by row."""
    parsed = _csv_rows(file, data.decode("utf-8", "surrogateescape"))
    first = next(parsed, None)
    if first is None or isinstance(first[1], str):
        said = f"its first line: {first[1]}" if first else "it has no line"
        raise ConfigError(f"{file} is not a CSV table with a header: {said}")
    if found := _foreign_byte("".join(first[1])):
        raise ConfigError(f"{file} is not in UTF-8: its header has {found}; {_WAY_OUT}")
    header, rows, faults = first[1], [], []
    for number, (place, cells) in enumerate(parsed, start=1):
        if isinstance(cells, str):
            why = cells
        elif len(cells) > len(header):
            why = f"it has {len(cells)} cells, the header {len(header)}"
        elif found := _foreign_byte("".join(cells)):
            why = f"it is not in UTF-8, it has {found}; {_WAY_OUT}"
        else:
            filled = [cell or None for cell in cells] + [None] * (len(header) - len(cells))
            rows.append((number, dict(zip(header, filled, strict=True))))
            continue
        faults.append(_fault(number, f"line {place} is not a CSV table's row: {why}"))
    return Records(rows=tuple(rows), faults=tuple(faults))


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the line on which each row begins with its cells, or with what is wrong; empty lines are none."""
    lines = io.StringIO(text, newline="").readlines()
    csv.field_size_limit(max(len(text), 1 << 17))
    start = scans = 0
    while start < len(lines):
        reader = csv.reader(islice(lines, start, None), strict=True)
        done = 0  # lines of whole rows
        try:
            for cells in reader:
                if cells:
                    yield start + done + 1, cells
                done = reader.line_num
            return
        except csv.Error as error:
            yield start + done + 1, str(error)
        start, scans = start + done + 1, scans + 1
        if scans > _MOST_SCANS:
            raise ConfigError(f"{file} is not a CSV table with a header: {_MOST_SCANS} rows cannot be read")


# --------------------------------------------------------------------------- parquet


def _read_parquet(file: Path, data: bytes) -> Records:
    try:
        return Records(rows=tuple(enumerate(pl.read_parquet(io.BytesIO(data)).to_dicts(), start=1)))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigError(f"{file} is not a Parquet table: {error}") from error
