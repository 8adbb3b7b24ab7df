"""Arrays of numbers: every form is read as the same rows, slices keep to the clock, and hostile files get a reason."""

from __future__ import annotations

import datetime
import io
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from mmpipe.config import ArraysConfig, LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.arrays import ArrayRows, open_array, open_stream, rows_of_values
from mmpipe.media.decode import NO_FILE, MediaSource, decode_clips
from mmpipe.media.guard import open_regular
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.types import ArrayNeeds, Clip, Modality, RawFile, Stream, clip_key_of

ALL = ("npy", "csv", "parquet")
LIMITS = LimitsConfig()
SECOND = 1_000_000_000


def raw_file(folder: Path, name: str) -> RawFile:
    status = os.stat(folder / name)
    return RawFile(name=name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def probe(folder: Path, name: str, limits: LimitsConfig = LIMITS, **arrays: object) -> ProbedFile:
    return probe_file(folder, raw_file(folder, name), limits, ArraysConfig(suffixes=ALL, **arrays))


def stream_of(folder: Path, name: str, **arrays: object) -> Stream:
    probed = probe(folder, name, **arrays)
    assert not probed.drops, probed.drops
    (stream,) = probed.streams
    return stream


def code(probed: ProbedFile) -> str:
    assert not probed.streams
    (drop,) = probed.drops
    return drop.code


def read(folder: Path, name: str, **arrays: object) -> ArrayRows:
    descriptor = open_regular(folder, name)
    try:
        return open_array(descriptor, Path(name).suffix, ArraysConfig(suffixes=ALL, **arrays), LIMITS)
    finally:
        os.close(descriptor)


def cut(rows: ArrayRows, start_s: float, end_s: float) -> tuple[list[list[float]], list[float]] | None:
    found = rows.of(clip(start_s, end_s))
    return found and (found.values_TD.tolist(), (found.times_ns / SECOND).tolist())


def clip(start_s: float, end_s: float) -> Clip:
    start_ns, end_ns = round(start_s * SECOND), round(end_s * SECOND)
    return Clip(key=clip_key_of("a", start_ns, end_ns), asset_id="a", start_ns=start_ns, end_ns=end_ns)


# --------------------------------------------------------------------------- forms


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", "<i2", ">i8", "|u1", "|b1", "<u4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_byte_order_and_memory_order_gives_the_same_rows(tmp_path, dtype, order):
    numbers = (np.arange(24).reshape(4, 3, 2) % 2 if dtype == "|b1" else np.arange(24).reshape(4, 3, 2)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(numbers, order=order))
    rows = read(tmp_path, "a.npy")
    assert rows.num_columns == 6
    np.testing.assert_array_equal(rows.read(0, 4), numbers.reshape(4, 6).astype(np.float32))
    assert rows.read(1, 3).dtype == np.float32


def test_the_digest_is_of_what_is_said_not_of_how_it_lies(tmp_path):
    numbers = np.arange(12, dtype="<f4").reshape(4, 3)
    forms = {
        "c": numbers,
        "f": np.asfortranarray(numbers),
        "big": numbers.astype(">f4"),
        "double": numbers.astype("f8"),
        "turned": numbers.reshape(3, 4),
        "other": numbers + 1,
    }
    digests = {}
    for name, array in forms.items():
        np.save(tmp_path / f"{name}.npy", array)
        digests[name] = stream_of(tmp_path, f"{name}.npy").digest
    assert digests["c"] == digests["f"] == digests["big"]
    assert len(set(digests.values())) == 4
    assert digests["c"] != stream_of(tmp_path, "c.npy", rate_hz=10).digest
    assert digests["c"] != stream_of(tmp_path, "c.npy", columns=("0", "2")).digest


@pytest.mark.parametrize("shape", [(), (5,), (5, 1)])
def test_a_number_and_a_row_of_numbers_are_columns(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape))
    assert read(tmp_path, "a.npy").read(0, 9).shape == ((shape or (1,))[0], 1)


def test_csv_and_parquet_hold_the_same_series(tmp_path):
    (tmp_path / "a.csv").write_text("t,x,name,y\n0.0,1,a,\n0.5,2.5,b,7\n1.0,,c,8\n")
    table = pa.table({"t": [0.0, 0.5, 1.0], "x": [1, 2.5, None], "name": ["a", "b", "c"], "y": [None, 7, 8]})
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        rows = read(tmp_path, name, time_column="t")
        assert rows.columns == ("x", "y")
        np.testing.assert_array_equal(rows.read(0, 3), np.float32([[1, np.nan], [2.5, 7], [np.nan, 8]]))
        assert list(rows.times_ns) == [0, SECOND // 2, SECOND]
    digests = {stream_of(tmp_path, name, time_column="t").digest for name in ("a.csv", "a.parquet")}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "text",
    ["1;2\n3;4\n", "1\t2\n3\t4\n", "\ufeffa,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", '"a","b"\n"1","2"\n"3","4"\n'],
)
def test_a_csv_may_come_with_other_delimiters_marks_and_without_a_header(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read(tmp_path, "a.csv").read(0, 9), [[1, 2], [3, 4]])


def test_chosen_columns_come_in_the_order_of_the_config(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    rows = read(tmp_path, "a.csv", columns=("z", "x"))
    assert rows.columns == ("z", "x")
    assert rows.read(0, 1).tolist() == [[3, 1]]
    np.save(tmp_path / "a.npy", [[1, 2, 3]])
    assert read(tmp_path, "a.npy", columns=("2", "0")).read(0, 1).tolist() == [[3, 1]]


# --------------------------------------------------------------------------- the clock


def test_rows_at_a_rate_belong_to_the_clip_in_which_they_begin(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10.0))
    stream = stream_of(tmp_path, "a.npy", rate_hz=4)
    assert (stream.start_ns, stream.duration_ns, stream.channels) == (0, 2.5 * SECOND, 1)
    rows = read(tmp_path, "a.npy", rate_hz=4)
    assert cut(rows, 0, 0.5) == ([[0], [1]], [0, 0.25])
    assert cut(rows, 0.5, 1) == ([[2], [3]], [0.5, 0.75])
    assert cut(rows, 0.3, 0.4) is None
    assert cut(rows, 2.5, 9) is None


def test_a_column_of_times_may_have_gaps_and_start_late(tmp_path):
    (tmp_path / "a.csv").write_text("x,s\n1,2\n2,3\n3,3\n4,8\n")
    stream = stream_of(tmp_path, "a.csv", time_column="s")
    assert (stream.start_ns, stream.duration_ns) == (2 * SECOND, 8 * SECOND)
    rows = read(tmp_path, "a.csv", time_column="s")
    assert cut(rows, 0, 3) == ([[1]], [2])
    assert cut(rows, 3, 4) == ([[2], [3]], [3, 3])
    assert cut(rows, 4, 8) is None
    np.save(tmp_path / "a.npy", [[2.0, 1], [3, 2]])
    assert cut(read(tmp_path, "a.npy", time_column="0"), 3, 9) == ([[2]], [3])


def test_rows_without_times_belong_to_every_clip(tmp_path):
    np.save(tmp_path / "a.npy", [[1.0], [2]])
    assert stream_of(tmp_path, "a.npy").duration_ns == 0
    rows = read(tmp_path, "a.npy")
    assert cut(rows, 0, 1) == ([[1], [2]], [0, 0.5])
    assert cut(rows, 4, 8) == ([[1], [2]], [4, 6])


def test_a_clip_without_a_number_has_no_array(tmp_path):
    np.save(tmp_path / "a.npy", [[np.nan, np.nan], [np.nan, 1]])
    rows = read(tmp_path, "a.npy", rate_hz=1)
    assert cut(rows, 0, 1) is None
    assert cut(rows, 1, 2) is not None


def test_clips_are_decoded_and_a_file_read_otherwise_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(8.0))
    stream = stream_of(tmp_path, "a.npy", rate_hz=4)
    descriptor = open_regular(tmp_path, "a.npy")
    sources = {Modality.ARRAY: MediaSource(descriptor=descriptor, stream=stream)}
    clips = [clip(1, 2), clip(0, 1), clip(0, 2), clip(5, 6)]
    config = ArraysConfig(suffixes=ALL, rate_hz=4)
    found = {d.clip: d.media for d in decode_clips(sources, clips, [ArrayNeeds()], (), LIMITS, config)}
    assert [found[one].get(ArrayNeeds()) and len(found[one][ArrayNeeds()].values_TD) for one in clips] == [
        4,
        4,
        8,
        None,
    ]
    with pytest.raises(SampleError, match="changed_since_ingest"):
        open_stream(descriptor, stream, ArraysConfig(suffixes=ALL, rate_hz=5), LIMITS)
    os.close(descriptor)


def test_numbers_in_no_file_are_one_row():
    values = '{"age":3.5,"length":null}'
    rows = rows_of_values(values)
    assert rows.columns == ("age", "length")
    stream = Stream(
        role="array", modality=Modality.ARRAY, digest="d", file="", file_sha256="", file_nbytes=0,
        track=0, start_ns=0, duration_ns=0, codec="labels", values=values,
    )  # fmt: skip
    sources = {Modality.ARRAY: MediaSource(descriptor=NO_FILE, stream=stream)}
    (decoded,) = decode_clips(sources, [clip(0, 1)], [ArrayNeeds()], (), LIMITS)
    np.testing.assert_array_equal(decoded.media[ArrayNeeds()].values_TD, np.float32([[3.5, np.nan]]))


# --------------------------------------------------------------------------- hostile files


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00", size: int | None = None) -> bytes:
    data = header.encode("latin-1")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(data) if size is None else size)
    return b"\x93NUMPY" + version + length + data + body


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


BOMB = "__import__('os').system('touch canary')"
HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("empty_file", lambda: b""),
    "no-npy": ("not_media", lambda: b"RIFF" + bytes(100)),
    "short": ("not_media", lambda: b"\x93NUMPY\x01"),
    "version": ("format_not_allowed", lambda: npy(described(), bytes(8), b"\x09\x00")),
    "objects": ("array_dtype", pickled),
    "records": ("array_dtype", lambda: npy(described("[('a', '<f4'), ('b', '<f4')]"), bytes(16))),
    "strings": ("array_dtype", lambda: npy(described("'<U4'"), bytes(32))),
    "complex": ("array_dtype", lambda: npy(described("'<c8'"), bytes(16))),
    "long-double": ("array_dtype", lambda: npy(described("'<f16'"), bytes(32))),
    "giant": ("limit_array", lambda: npy(described(shape="(99999999999, 99999999999)"), bytes(8))),
    "giant-zero": ("empty_array", lambda: npy(described(shape="(99999999999, 0)"))),
    "negative": ("decode_error", lambda: npy(described(shape="(-2,)"), bytes(8))),
    "fraction": ("decode_error", lambda: npy(described(shape="(2.0,)"), bytes(8))),
    "rank": ("decode_error", lambda: npy(described(shape="(" + "1," * 40 + ")"), bytes(4))),
    "truncated": ("decode_error", lambda: npy(described(), bytes(7))),
    "longer": ("decode_error", lambda: npy(described(), bytes(9))),
    "header-cut": ("decode_error", lambda: npy(described()[:30], bytes(8))),
    "header-giant": ("decode_error", lambda: npy(described(), version=b"\x02\x00", size=1 << 31)),
    "header-code": ("decode_error", lambda: npy(described(shape=BOMB), bytes(8))),
    "header-name": ("decode_error", lambda: npy(described(order="os"), bytes(8))),
    "header-nested": ("decode_error", lambda: npy("(" * 4000 + ")" * 4000)),
    "header-keys": ("decode_error", lambda: npy("{'descr': '<f4'}", bytes(8))),
    "infinite": ("nonfinite", lambda: npy(described(), np.float32([1, np.inf]).tobytes())),
    "beyond-float32": ("nonfinite", lambda: npy(described("'<f8'"), np.float64([1, 1e300]).tobytes())),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:invalid escape:SyntaxWarning")
def test_a_broken_or_hostile_npy_ends_in_its_reason(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    expected, make = HOSTILE[name]
    (tmp_path / "a.npy").write_bytes(make())
    assert code(probe(tmp_path, "a.npy")) == expected
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize(
    ("text", "arrays", "expected"),
    [
        ("x\n1\ninf\n", {}, "nonfinite"),
        ("x,y\n1,2\n3\n", {}, "decode_error"),
        ("x\n" + "1\n" * 600_000 + "word\n", {}, "decode_error"),
        ("x," + "9" * 3_000_000 + "\n1,2\n", {}, "decode_error"),
        ("x,y\n", {}, "empty_array"),
        ("x\na\nb\n", {}, "empty_array"),
        ("x,x\n1,2\n", {}, "decode_error"),
        ("t,x\n0,1\n", {"columns": ("z",)}, "missing_column"),
        ("x\n1\n", {"time_column": "t"}, "missing_column"),
        ("t\n1\n", {"time_column": "t"}, "empty_array"),
        ("t,x\n1,1\n0,2\n", {"time_column": "t"}, "bad_times"),
        ("t,x\n-1,1\n0,2\n", {"time_column": "t"}, "bad_times"),
        ("t,x\n0,1\n,2\n", {"time_column": "t"}, "bad_times"),
        ("t,x\n1700000000,1\n", {"time_column": "t"}, "bad_times"),
        ("t,x\n0,1\n99999,2\n", {"time_column": "t"}, "limit_duration"),
        ("x\n" + "1\n" * 100, {"rate_hz": 0.001}, "limit_duration"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path, text, arrays, expected):
    (tmp_path / "a.csv").write_text(text)
    assert code(probe(tmp_path, "a.csv", **arrays)) == expected


@pytest.mark.parametrize("columns", [(), ("x",)])
@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_column_of_times_that_are_no_seconds_is_there_and_is_told(
    tmp_path: Path, name: str, columns: tuple[str, ...]
) -> None:
    start = datetime.datetime(2026, 11, 20)
    times = pa.array([start, start + datetime.timedelta(seconds=1)], pa.timestamp("us"))
    table = pa.table({"t": times, "x": [1.0, 2.0]})
    if name == "a.csv":
        pacsv.write_csv(table, tmp_path / name)
    else:
        pq.write_table(table, tmp_path / name)
    probed = probe(tmp_path, name, time_column="t", columns=columns)
    assert code(probed) == "array_dtype"
    said = r"the column 't' holds timestamp\[\w+\], not numbers; times are seconds from the asset's start"
    assert re.fullmatch(said, probed.drops[0].detail)
    (tmp_path / "word.csv").write_text("t,x\nnoon,1\n")
    assert "'t' holds string, not numbers" in probe(tmp_path, "word.csv", time_column="t").drops[0].detail


def test_limits_hold_before_the_numbers_are_read(tmp_path):
    limits = LimitsConfig(array_values=10)
    np.save(tmp_path / "a.npy", np.zeros(11))
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 11)
    pq.write_table(pa.table({"x": np.zeros(1_000_000)}), tmp_path / "a.parquet")
    for name in ("a.npy", "a.csv", "a.parquet"):
        assert code(probe(tmp_path, name, limits)) == "limit_array"


@pytest.mark.parametrize("damage", ["cut", "flip", "none-of-it"])
def test_a_broken_parquet_ends_in_its_reason(tmp_path, damage):
    pq.write_table(
        pa.table({"x": np.random.default_rng(0).random(1000)}), tmp_path / "a.parquet", write_page_checksum=True
    )
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    if damage == "flip":
        data[1000] ^= 1
    (tmp_path / "a.parquet").write_bytes({"cut": data[:-20], "flip": data, "none-of-it": b"x" * 100}[damage])
    assert code(probe(tmp_path, "a.parquet")) == "decode_error"


def test_a_suffix_counts_only_where_the_corpus_says_so(tmp_path):
    np.save(tmp_path / "a.npy", [1.0])
    assert code(probe_file(tmp_path, raw_file(tmp_path, "a.npy"), LIMITS)) == "not_media"
