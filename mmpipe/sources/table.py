"""A corpus that is a table: one row per asset, and in its columns names of files, addresses, texts or bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mmpipe.config import SourceConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.io import escape_name
from mmpipe.sources.labels import canonical_text
from mmpipe.sources.listing import filter_reason
from mmpipe.sources.origins import URL
from mmpipe.sources.records import Records
from mmpipe.sources.safe_names import NameBook, safe_name
from mmpipe.types import Drop, Modality

_UNREADABLE = "row_unreadable"
# What a file is, its content says; only that of a text is told by its name.
_SUFFIXES = {
    Modality.VIDEO: ".mp4",
    Modality.AUDIO: ".wav",
    Modality.IMAGE: ".png",
    Modality.TEXT: ".txt",
    Modality.ARRAY: ".npy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One role of one asset: where its bytes are, or the bytes."""

    name: str  # escaped, of the file that it becomes: KEY/ROLE.SUFFIX
    address: str = ""  # a name below the root, or a URL
    content: bytes | None = None
    row: int = 0  # of the table, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells of a table that are not empty, and what of it cannot be used."""

    cells: tuple[Cell, ...]
    drops: tuple[Drop, ...]


def read_cells(records: Records, source: SourceConfig) -> Cells:
    """Take a table apart. Raise ConfigError where a column is missing or a role is none."""
    cells: list[Cell] = []
    drops = [
        Drop(stage="list", code=fault.code, detail=f"the table, {fault.detail}", file=row_name(fault.number))
        for fault in records.faults
    ]
    book = NameBook()
    modalities = {role: _modality(role) for role in source.columns}
    _require_columns(records, source)
    for number, row in records.rows:
        key = str(row.get(source.key) or "")
        try:
            key = _text_of(row.get(source.key), f"the key column {source.key!r}") or ""
            name = escape_name(safe_name(os.fsencode(key)))
            book.add(os.fsencode(key) + b"/")  # a folder's name: an asset below another's name is none of it
            if any(filter_reason(part) for part in name.encode().split(b"/")):
                raise SampleError("unsafe_name", "it is named as hidden files are")
            found = [_cell(name, role, modalities[role], column, row) for role, column in source.columns.items()]
        except (SampleError, UnicodeEncodeError) as error:
            code = error.code if isinstance(error, SampleError) else "unsafe_name"
            said = error.detail if isinstance(error, SampleError) else str(error)
            detail = f"row {number} of the table, {source.key} = {key[:200]!r}: {said}"
            drops.append(Drop(stage="list", code=code, detail=detail, file=row_name(number)))
            continue
        cells += [replace(cell, row=number) for cell in found if cell]
    return Cells(cells=tuple(cells), drops=tuple(drops))


def row_name(number: int) -> str:
    """Return what a row is called of which no file comes."""
    return f"row {number}"


def _modality(role: str) -> Modality:
    """Return the modality of a role: `audio`, or `audio-far` for a second one."""
    for modality in Modality:
        if role == modality or role.startswith((f"{modality}-", f"{modality}_")):
            return modality
    raise ConfigError(f"source.columns has the role {role!r}; roles are {[str(one) for one in Modality]}, or audio-far")


def _require_columns(records: Records, source: SourceConfig) -> None:
    there = records.columns
    missing = sorted({source.key, *source.columns.values()}.difference(there))
    if records.rows and missing:
        raise ConfigError(f"the table has no column {missing[0]!r} (`source`); its columns are: {there}")


def _cell(name: str, role: str, modality: Modality, column: str, row: Mapping[str, Any]) -> Cell | None:
    value, suffix, where = row.get(column), _SUFFIXES[modality], f"the column {column!r} ({role})"
    if isinstance(value, Mapping):  # bytes beside a name, as Parquet tables of pictures have them
        content, path = value.get("bytes"), value.get("path")
        if not value.keys() & {"bytes", "path"} or not isinstance(content, bytes | None):
            raise _unusable(value, modality, where)
        if content:
            value, suffix = content, _suffix(path if isinstance(path, str) else "", modality)
        elif modality is Modality.TEXT and path is not None:
            raise _unusable(value, modality, where)
        else:
            value = path
    if isinstance(value, bytes):
        return Cell(name=f"{name}/{role}{suffix}", content=value)
    if modality is Modality.ARRAY and isinstance(value, list):
        return Cell(name=f"{name}/{role}.npy", content=_to_npy(value))
    if modality is Modality.TEXT:
        words = _text_of(value, where)
        return Cell(name=f"{name}/{role}{suffix}", content=words.encode()) if words else None
    text = "" if _is_null(value) else value
    if not isinstance(text, str):
        raise _unusable(value, modality, where)
    if not text:
        return None
    if URL.match(text):
        return Cell(name=f"{name}/{role}{_suffix(urlsplit(text).path, modality)}", address=text)
    address = escape_name(safe_name(os.fsencode(text)))
    return Cell(name=f"{name}/{role}{_suffix(address, modality)}", address=address)


def _text_of(value: Any, where: str) -> str | None:
    """Return a cell's text, None for null. Raise SampleError row_unreadable where it is neither text nor number."""
    try:
        text = None if isinstance(value, list | Mapping) else canonical_text(value)
        if text is None and not _is_null(value):
            raise _unusable(value, Modality.TEXT, where)
        (text or "").encode()
    except (TypeError, ValueError) as error:
        raise SampleError(_UNREADABLE, f"{where} holds what is no text: {error}") from None
    return text


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _unusable(value: Any, modality: Modality, where: str) -> SampleError:
    allowed = "text, a number or null" if modality is Modality.TEXT else "the name of a file, a URL, bytes or null"
    kind = {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number"}.get(
        type(value)
    )
    return SampleError(
        _UNREADABLE, f"{where} holds {kind or f'a {type(value).__name__}'}, {str(value)[:80]!r}; it must be {allowed}"
    )


def _to_npy(values: list[Any]) -> bytes:
    """Return nested lists of numbers as an npy file; null is a missing number."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SampleError("array_dtype", f"a list that is no array of numbers: {error}") from error
    file = BytesIO()
    np.save(file, numbers, allow_pickle=False)
    return file.getvalue()


def _suffix(address: str, modality: Modality) -> str:
    suffix = escape_name(PurePosixPath(address).suffix)
    return suffix if 1 < len(suffix) <= 12 and not filter_reason(b"x" + suffix.encode()) else _SUFFIXES[modality]
