"""A corpus that is a table: one row per asset, and in its columns names of files, addresses, texts or bytes."""

from __future__ import annotations

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
        key = canonical_text(row.get(source.key)) or ""
        try:
            name = escape_name(safe_name(os.fsencode(key)))
            book.add(os.fsencode(key) + b"/")  # a folder's name: an asset below another's name is none of it
            if any(filter_reason(part) for part in name.encode().split(b"/")):
                raise SampleError("unsafe_name", "it is named as hidden files are")
            found = [_cell(name, role, modalities[role], row.get(column)) for role, column in source.columns.items()]
        except (SampleError, UnicodeEncodeError, TypeError) as error:
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


def _cell(name: str, role: str, modality: Modality, value: Any) -> Cell | None:
    if isinstance(value, Mapping):  # bytes beside a name, as Parquet tables of pictures have them
        content, path = value.get("bytes"), value.get("path")
        value = content if content else path
        suffix = _suffix(str(path or ""), modality)
        if isinstance(value, bytes):
            return Cell(name=f"{name}/{role}{suffix}", content=value)
    if isinstance(value, bytes):
        return Cell(name=f"{name}/{role}{_SUFFIXES[modality]}", content=value)
    if modality is Modality.ARRAY and isinstance(value, list):
        return Cell(name=f"{name}/{role}.npy", content=_to_npy(value))
    text = canonical_text(value)
    if not text:
        return None
    if modality is Modality.TEXT:
        return Cell(name=f"{name}/{role}{_SUFFIXES[modality]}", content=text.encode())
    if URL.match(text):
        return Cell(name=f"{name}/{role}{_suffix(urlsplit(text).path, modality)}", address=text)
    address = escape_name(safe_name(os.fsencode(text)))
    return Cell(name=f"{name}/{role}{_suffix(address, modality)}", address=address)


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
