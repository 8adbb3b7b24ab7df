"""`sqlite-media` keeps the contract of a source, with a column of changes and without."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mmpipe_sqlite_media import SqliteMedia, SqliteMediaParams

from mmpipe import ConfigError, TransientError
from mmpipe.testing import check_source


def run(database: Path, statement: str, *values: object) -> None:
    """Change the database."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with two files, and a row that has none."""
    path = tmp_path / "a shelf?.sqlite"
    run(path, "CREATE TABLE media (name TEXT, data BLOB, at INTEGER)")
    for name, data in (("a/one.txt", b"a kettle"), ("a/two.txt", b"a fan" * 1000), ("a/none.txt", None)):
        run(path, "INSERT INTO media VALUES (?, ?, 1)", name, data)
    return path


@pytest.mark.parametrize("changed", [None, "at"])
def test_it_keeps_the_contract_of_a_source(database: Path, changed: str | None) -> None:
    """Whole bytes by name, and another stamp for other bytes."""
    source = SqliteMedia(SqliteMediaParams(changed=changed), str(database))
    assert [entry.name for entry in source.objects()] == ["a/one.txt", "a/two.txt"]
    check_source(source, lambda: run(database, "UPDATE media SET data = 'a bell', at = 2 WHERE name = 'a/one.txt'"))


@pytest.mark.parametrize("declared", ["", "INTEGER", "TEXT"])
def test_a_number_is_a_name_as_well(tmp_path: Path, declared: str) -> None:
    """What is listed is found, whatever the column's type."""
    path = tmp_path / "numbers.sqlite"
    run(path, f"CREATE TABLE media (name {declared}, data BLOB)")
    run(path, "INSERT INTO media VALUES (5, 'a kettle')")
    source = SqliteMedia(SqliteMediaParams(), str(path))
    assert [entry.name for entry in source.objects()] == ["5"]
    with source.open("5") as file:
        assert file.read() == b"a kettle"


def test_a_locked_database_is_tried_again(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who writes is done at some time: nothing is wrong with the config."""
    monkeypatch.setattr("mmpipe_sqlite_media._PATIENCE_S", 0.01)
    source = SqliteMedia(SqliteMediaParams(), str(database))
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match="is being written to: database is locked"):
            source.open("a/one.txt")
        with pytest.raises(TransientError, match="run again"):
            list(source.objects())


def test_a_table_that_is_not_there_is_told(database: Path) -> None:
    """The message names the database, the table and the way out."""
    with pytest.raises(ConfigError, match="no such table: films"):
        list(SqliteMedia(SqliteMediaParams(table="films"), str(database)).objects())


def test_a_name_that_is_no_column_never_reaches_a_query() -> None:
    """The config is refused."""
    with pytest.raises(ValueError, match="String should match pattern"):
        SqliteMediaParams(table="media; DROP TABLE media")
