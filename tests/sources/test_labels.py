from __future__ import annotations

import datetime
import json
from pathlib import Path

import polars as pl
import pytest

from mmpipe.config import LabelsConfig
from mmpipe.errors import ConfigError
from mmpipe.sources.labels import canonical_text, read_columns, read_labels


def test_three_formats_agree(tmp_path: Path) -> None:
    records = [
        {"id": "a", "digit": 3, "speaker": "bob", "score": 0.5},
        {"id": "b", "digit": 4, "speaker": None, "score": 2.0},
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    pl.DataFrame(records).write_parquet(tmp_path / "l.parquet")
    (tmp_path / "l.csv").write_text("id,digit,speaker,score\na,3,bob,0.5\nb,4,,2\n")
    tables = [read_labels(LabelsConfig(file=tmp_path / name)) for name in ("l.jsonl", "l.parquet", "l.csv")]
    assert tables[0] == tables[1] == tables[2]
    assert dict(tables[0].rows[0].values) == {"digit": "3", "score": "0.5", "speaker": "bob"}
    assert dict(tables[0].rows[1].values) == {"digit": "4", "score": "2"}
    assert tables[0].columns == ("digit", "id", "score", "speaker")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("l.csv", 'it\'s,"b, c"\n1,2\n', ("b, c", "it's")),
        ("l.jsonl", '{"z": 1}\n{"a": null, "z": 2}\n', ("a", "z")),
        ("l.jsonl", "", ()),
    ],
)
def test_the_columns_are_known_before_the_key_is(
    tmp_path: Path, name: str, text: str, columns: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    assert read_columns(tmp_path / name) == columns


def test_columns_of_a_file_that_is_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the labels file"):
        read_columns(tmp_path / "nothing.csv")
    with pytest.raises(ConfigError, match="must end with one of"):
        read_columns(tmp_path / "l.xlsx")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (float("nan"), None),
        ("01", "01"),
        (True, "true"),
        (7, "7"),
        (7.0, "7"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (datetime.date(2026, 11, 20), "2026-11-20"),
        (["b", 1], '["b",1]'),
        ({"b": 1, "a": "ü"}, '{"a":"ü","b":1}'),
    ],
)
def test_a_value_has_one_text(value: object, text: str | None) -> None:
    assert canonical_text(value) == text


def test_csv_keeps_leading_zeros_and_quoted_newlines(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text('id,code,note\na,007,"two\nlines, one cell"\n')
    (row,) = read_labels(LabelsConfig(file=tmp_path / "l.csv")).rows
    assert dict(row.values) == {"code": "007", "note": "two\nlines, one cell"}


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    for name, text in (("l.csv", "id,x\na,1\n"), ("l.jsonl", '{"id": "a", "x": 1}\n')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert read_labels(LabelsConfig(file=tmp_path / name)).columns == ("id", "x")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(("name", "text"), [("l.csv", "id,x\nä,1\n"), ("l.jsonl", '{"id": "ä", "x": 1}\n')])
def test_a_table_with_a_mark_is_read_in_its_encoding(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    marked = text if encoding in ("utf-16", "utf-32") else f"\ufeff{text}"
    (tmp_path / name).write_bytes(marked.encode(encoding))
    assert [row.key for row in read_labels(LabelsConfig(file=tmp_path / name)).rows] == ["ä"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("l.txt", b"", r"must end with one of: \.csv, \.jsonl, \.ndjson, \.parquet"),
        ("l.jsonl", b"[1]\n", "line 1 must be a JSON object, not a list"),
        ("l.jsonl", b'{"id": "a"\n', "line 1 is not JSON"),
        ("l.jsonl", b'{"id": "a", "id": "b"}\n', "stands twice"),
        ("l.jsonl", b'{"id": "\xff"}\n', "line 1 is not JSON in UTF-8"),
        ("l.jsonl", b'{"id": "a", "x": "\\ud800"}\n', "row 1, column 'x'"),
        ("l.jsonl", b'{"id": "a", "x": Infinity}\n', "infinite"),
        ("l.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("l.jsonl", b'{"name": "a"}\n', r"no column 'id' \(`labels.key`\); its columns are: \['name'\]"),
        ("l.jsonl", b'{"id": null}\n', "row 1 has no value in the key column"),
        ("l.csv", b"id,x\na,1,2,3\n", "not a CSV table's row: it has 4 cells, the header 2"),
        ("l.csv", b"id,x\n\xff\xfe,1\n", "not a CSV table's row: it is not in UTF-8"),
        (
            "l.csv",
            b"i\xffd,x\na,1,2\n",
            r"l.csv is not in UTF-8: its header has the byte 0xff \('ÿ' in cp1252\).* UTF-8",
        ),
        (
            "l.csv",
            "id,größe\na,1\n".encode("cp1252"),
            r"its header has the byte 0xf6 \('ö' in cp1252\).*save the table",
        ),
        ("l.csv", "id,x\na,1\n".encode("utf-16-le"), "UTF-16 without its mark: save the table as UTF-8"),
        ("l.jsonl", '{"id": "a"}\n'.encode("utf-16-be"), "UTF-16 without its mark: save the table as UTF-8"),
        ("l.csv", "id,x\na,1\n".encode("utf-16")[:-1], "marked as UTF-16, and is not: .*save the table as UTF-8"),
        (
            "l.jsonl",
            '{"id": "ö"}\n'.encode("cp1252"),
            r"it has the byte 0xf6 \('ö' in cp1252\).*save the table as UTF-8",
        ),
        ("l.csv", b'"i"d,x\na,1,2\n', "not a CSV table with a header: its first line"),
        ("l.parquet", b"PAR1", "not a Parquet table"),
    ],
)
def test_a_bad_table_is_a_config_error_that_says_where(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_labels(LabelsConfig(file=tmp_path / name))


JSONL = (
    b'{"id": "a", "x": 1}\n{"id": "", "x": 2}\n{"x": 3}\n{"id": null}\n{"id": ["b"], "x": 4}\n\n{"id": \n[1]\n'
    b'{"id": "\xff"}\n{"id": "c", "id": "d"}\n{"id": "e", "x": Infinity}\n{"id": "f", "x": "\\ud800"}\n'
    b'{"id": "g", "x": {"deep": [1]}}\n{"id": 7, "x": null}\n{"id": " "}\n'
)


def test_a_bad_row_is_a_fault_and_the_others_stand(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_bytes(JSONL)
    table = read_labels(LabelsConfig(file=tmp_path / "l.jsonl"))
    assert [(row.key, dict(row.values)) for row in table.rows] == [
        ("a", {"x": "1"}),
        ("g", {"x": '{"deep":[1]}'}),
        ("7", {}),
    ]
    assert [(fault.number, fault.code, fault.key) for fault in table.faults] == [
        *((number, "label_without_key", "") for number in (2, 3, 4, 5)),
        *((number, "row_unreadable", "") for number in (6, 7, 8, 9)),
        (10, "label_not_usable", "e"),
        (11, "label_not_usable", "f"),
        (14, "label_without_key", ""),
    ]
    details = [fault.detail for fault in table.faults]
    assert details[0] == "row 2 has no value in the key column 'id'"
    assert details[3] == "row 5 has \"['b']\", which is no name, in the key column 'id'"
    assert details[4].startswith("line 7 is not JSON: ") and "infinite number" in details[8]


def test_a_bad_row_of_a_csv_table_is_a_fault_too(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(
        b'id,x\r\na,1\r\nb,1,2\r\n\xff,3\r\n\r\n,4\r\n"c","two\r\nlines"\r\n"d"e,5\r\nf\r\n"g,6\r\nh,7\r\n'
    )
    table = read_labels(LabelsConfig(file=tmp_path / "l.csv"))
    assert [(row.key, dict(row.values)) for row in table.rows] == [
        ("a", {"x": "1"}),
        ("c", {"x": "two\r\nlines"}),
        ("f", {}),
        ("h", {"x": "7"}),
    ]
    assert [(fault.number, fault.detail.partition(":")[0]) for fault in table.faults] == [
        (2, "line 3 is not a CSV table's row"),
        (3, "line 4 is not a CSV table's row"),
        (4, "row 4 has no value in the key column 'id'"),
        (6, "line 9 is not a CSV table's row"),
        (8, "line 11 is not a CSV table's row"),
    ]
    (tmp_path / "l.csv").write_bytes(b"id,x\na,1\n\n,2\n")  # each row can be read: the fast way gives the same
    table = read_labels(LabelsConfig(file=tmp_path / "l.csv"))
    assert [row.key for row in table.rows] == ["a"]
    assert [(fault.number, fault.code) for fault in table.faults] == [(2, "label_without_key")]


def test_a_value_of_100_mb_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"id": "a", "x": "' + "y" * (100 << 20) + '"}\n{"id": "b"}\n')
    table = read_labels(LabelsConfig(file=tmp_path / "l.jsonl"))
    assert [row.key for row in table.rows] == ["b"]
    (fault,) = table.faults
    assert (fault.code, fault.key) == ("label_not_usable", "a") and "allowed are 4194304" in fault.detail


def test_bytes_in_a_parquet_table_are_no_label(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a", None, "b"], "x": [b"\x00", b"", None]}).write_parquet(tmp_path / "l.parquet")
    table = read_labels(LabelsConfig(file=tmp_path / "l.parquet"))
    assert [row.key for row in table.rows] == ["b"]
    assert [(fault.number, fault.code) for fault in table.faults] == [(1, "label_not_usable"), (2, "label_without_key")]


def test_absent_file_and_absent_group_column_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_labels(LabelsConfig(file=tmp_path / "l.csv"))
    (tmp_path / "l.csv").write_text("id\na\n")
    with pytest.raises(ConfigError, match=r"labels\.group"):
        read_labels(LabelsConfig(file=tmp_path / "l.csv", group="speaker"))


@pytest.mark.parametrize(("name", "data"), [("l.csv", b""), ("l.csv", b"id,x\n"), ("l.jsonl", b"\n")])
def test_a_table_without_rows_is_no_error(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_labels(LabelsConfig(file=tmp_path / name)).rows == ()


def test_real_table(corpora: Path) -> None:
    table = read_labels(LabelsConfig(file=corpora / "av_digits" / "labels.jsonl", group="speaker"))
    assert len(table.rows) == 2000
    assert table.rows[0].key == "0_george_0" and dict(table.rows[0].values) == {"digit": "0", "speaker": "george"}
