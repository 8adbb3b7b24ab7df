"""Answers as a file: one row per clip, and one per file, clip or input that has a reason instead; written as they come.

The file appears under its name when it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from mmpipe.errors import ConfigError
from mmpipe.registry.versions import Version
from mmpipe.steps.ask.answers import Answer, Unanswered

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".jsonl", ".json")
_ROWS_HELD = 2_048
_ABOUT = ("model", "version", "source", "key", "start_s", "end_s")
_REASON = ("code", "detail", "feature")
Row = Answer | Unanswered


class AnswerFile(Protocol):
    """Takes rows one after the other."""

    def add(self, row: Row) -> None:
        """Write a row, or hold it for a few others."""


@contextmanager
def open_answer_file(path: Path, version: Version) -> Iterator[AnswerFile]:
    """Begin a file of a version's answers; it replaces another when all is written, and else is not left."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--out {path}: the name must end in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {path.parent}. Make it first.")
    part = path.with_name(f".{path.name}.part")
    try:
        about = {"model": version.name, "version": version.label}
        with _open(path.suffix, part, about) as rows:
            yield rows
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def row_of(row: Row, about: Mapping[str, str]) -> dict[str, object]:
    """Return a row as plain values: all columns that are the same for every goal, and what is said."""
    told = {**about, "source": row.source, "key": row.key or None}
    if isinstance(row, Unanswered):
        return {**told, "code": row.code, "detail": row.detail, "feature": row.feature or None}
    return {**told, "start_s": row.start_s, "end_s": row.end_s, **row.said}


@contextmanager
def _open(suffix: str, part: Path, about: Mapping[str, str]) -> Iterator[AnswerFile]:
    if suffix == ".parquet":
        with _parquet(part, about) as rows:
            yield rows
        return
    with part.open("w", encoding="utf-8") as file:
        lines = _Lines(file, about, *(("[\n", ",\n", "\n]\n") if suffix == ".json" else ("", "\n", "\n")))
        yield lines
        lines.end()


class _Lines:
    """JSON, a row a line."""

    def __init__(self, file: TextIO, about: Mapping[str, str], first: str, between: str, last: str) -> None:
        self._about = about
        self._file, self._first, self._between, self._last = file, first, between, last
        self._is_empty = True

    def add(self, row: Row) -> None:
        """Write a row."""
        told = {name: value for name, value in row_of(row, self._about).items() if value is not None}
        self._file.write(self._first if self._is_empty else self._between)
        self._file.write(json.dumps(told, allow_nan=False))
        self._is_empty = False

    def end(self) -> None:
        """Close what was opened."""
        if self._is_empty:
            self._file.write(self._first)
        if self._last != self._between or not self._is_empty:
            self._file.write(self._last)


@contextmanager
def _parquet(part: Path, about: Mapping[str, str]) -> Iterator[AnswerFile]:
    rows = _Parquet(part, about)
    try:
        yield rows
        rows.flush(at_end=True)
    finally:
        rows.close()


class _Parquet:
    """Row groups; the columns of what is said are those of the first answer."""

    def __init__(self, part: Path, about: Mapping[str, str]) -> None:
        self._part, self._about = part, about
        self._held: list[dict[str, object]] = []
        self._said: Answer | None = None
        self._writer: Any = None

    def add(self, row: Row) -> None:
        """Hold a row until there are many."""
        if self._said is None and isinstance(row, Answer):
            self._said = row
        self._held.append(row_of(row, self._about))
        if len(self._held) >= _ROWS_HELD and self._said:
            self.flush()

    def flush(self, at_end: bool = False) -> None:
        """Write what is held as a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = _schema(self._said)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._part, schema, write_page_checksum=True)
        if self._held or at_end:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=schema))
        self._held.clear()

    def close(self) -> None:
        """Close the file, whole or not."""
        if self._writer is not None:
            self._writer.close()


def _schema(answer: Answer | None) -> pa.Schema:
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = dict.fromkeys((*_ABOUT, *_REASON), pa.string())
    kinds |= dict.fromkeys(("start_s", "end_s"), pa.float64())
    said = {name: _kind(value) for name, value in answer.said.items()} if answer else {}
    order: Sequence[str] = (*_ABOUT, *said, *_REASON)
    return pa.schema([(name, said.get(name) or kinds[name]) for name in order])


def _kind(value: object) -> pa.DataType:
    """Return how a part of an answer is kept; a goal says the same parts of every clip."""
    import pyarrow as pa

    if isinstance(value, str):
        return pa.string()
    if not isinstance(value, dict):
        return pa.float64()
    if all(isinstance(number, float) for number in value.values()):
        return pa.struct([(str(name), pa.float64()) for name in value])
    return pa.map_(pa.string(), pa.list_(pa.float64()))  # a side that a clip lacks has no vector
