from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import StoreError
from mmpipe.store.parquet import parse_parquet, write_parquet

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def test_no_thread_of_arrow_holds_memory_of_python(tmp_path: Path, monkeypatch) -> None:
    """One that gives it back to an interpreter at its end would abort the process."""
    write_parquet(tmp_path / "a", pa.table({"n": [1, 2]}, schema=SCHEMA), {"said": 1}, ())
    data, read = bytearray((tmp_path / "a").read_bytes()), pq.read_table

    def read_alone(source: object, **options: object) -> pa.Table:
        data.append(0)  # refused while anybody holds it
        return read(source, **options)

    monkeypatch.setattr(pq, "read_table", read_alone)
    table, facts = parse_parquet(data, SCHEMA, tmp_path)  # type: ignore[arg-type]
    assert (table["n"].to_pylist(), facts) == ([1, 2], {"said": 1})


def test_nothing_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is damaged"):
        parse_parquet(b"", SCHEMA, tmp_path)
