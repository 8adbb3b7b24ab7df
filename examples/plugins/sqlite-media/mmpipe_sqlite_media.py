"""`sqlite-media`: files that lie in a table of an SQLite database, one row each."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from pydantic import Field

from mmpipe import ConfigError, SourceObject, Table, TransientError

_PATIENCE_S = 5.0  # how long a look waits for somebody who writes
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # somebody writes

# Names cannot be parameters of a query, so they are held to what needs no quoting.
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class SqliteMediaParams(Table):
    """Where in the database the files are."""

    table: Column = Field("media", description="table with a row per file")
    name: Column = Field("name", description="column with the file's name, `/` between folders")
    data: Column = Field("data", description="column with its bytes")
    changed: Column | None = Field(
        None, description="column that changes whenever the bytes do; none: the bytes are hashed at every look"
    )


class SqliteMedia:
    """The rows of a table, read only."""

    name = "sqlite-media"
    Params = SqliteMediaParams

    def __init__(self, params: SqliteMediaParams, root: str) -> None:
        self._params, self._file = params, Path(root)

    def objects(self) -> Iterator[SourceObject]:
        """Yield a file per row; a row without bytes is none."""
        params = self._params
        told = f"CAST({params.changed} AS TEXT)" if params.changed else "NULL"
        columns = f"CAST({params.name} AS TEXT), length(CAST({params.data} AS BLOB)), {told}, rowid"
        query = f"SELECT {columns} FROM {params.table} WHERE {params.data} IS NOT NULL"
        with self._connected() as connection:
            for name, nbytes, changed, row in connection.execute(query):
                stamp = f"{nbytes} {changed}" if changed is not None else self._hash(connection, row)
                yield SourceObject(name=str(name), nbytes=nbytes, stamp=stamp)

    def open(self, name: str) -> BinaryIO:
        """Open the bytes of a row, to be read in pieces."""
        params = self._params
        with self._telling():
            connection = self._connect()
            try:
                blob = connection.blobopen(params.table, params.data, self._row(connection, name), readonly=True)
            except BaseException:
                connection.close()
                raise
        return cast(BinaryIO, _Row(connection, blob))

    def _row(self, connection: sqlite3.Connection, name: str) -> int:
        """Return the row of a name: by the column's index where it is text, else by what a number is as text."""
        params = self._params
        for column in (params.name, f"CAST({params.name} AS TEXT)"):
            query = f"SELECT rowid FROM {params.table} WHERE {column} = ? AND {params.data} IS NOT NULL"
            if found := connection.execute(query, (name,)).fetchone():
                return int(found[0])
        raise FileNotFoundError(name)

    def _hash(self, connection: sqlite3.Connection, row: int) -> str:
        hasher = hashlib.sha256()
        with connection.blobopen(self._params.table, self._params.data, row, readonly=True) as blob:
            while piece := blob.read(1 << 20):
                hasher.update(piece)
        return hasher.hexdigest()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._telling(), closing(self._connect()) as connection:
            yield connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say of SQLite's errors which pass by themselves, and so are tried again."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
                raise TransientError(
                    f"{self._file} is being written to: {error}. Nothing is lost: run again."
                ) from error
            raise ConfigError(
                f"{self._file} is not read as a database with the table {self._params.table!r}: {error}. "
                "Correct `root` or `source.options` of the corpus."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_S)


class _Row(io.RawIOBase):
    """The bytes of one row, with the connection that they come by."""

    def __init__(self, connection: sqlite3.Connection, blob: sqlite3.Blob) -> None:
        super().__init__()
        self._connection, self._blob = connection, blob

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, and return how much of it."""
        piece = self._blob.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the row and its connection."""
        if not self.closed:
            self._blob.close()
            self._connection.close()
        super().close()
