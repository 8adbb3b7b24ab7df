"""Other teams' formats: what is found in them, what is refused, and what a row becomes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import ConfigError, SampleError, TransientError
from mmpipe.external.dataset import Survey, guess_selection, read_rows, survey
from mmpipe.external.pin import MatchBy, MatchRule, Pin, Shape, SourceFormat, parse_pin
from mmpipe.external.source import ExternalSource, clean_uri, find_drift
from mmpipe.external.values import to_value
from mmpipe.types import FeatureKind, Modality

KEYS = ["a", "b", "c"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def look(uri: Path | str, folder: Path, key: str = "", columns: tuple[str, ...] = (), keys: str = "") -> Survey:
    source = ExternalSource(str(uri))
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return survey(source, guess_selection(source, key, columns, keys), scratch)


def rows_of(uri: Path | str, folder: Path, found: Survey, wanted: set[str]) -> dict[str, np.ndarray | SampleError]:
    pin = pin_of(str(uri), found)
    return dict(read_rows(ExternalSource(str(uri)), pin, wanted, folder / "scratch"))


def pin_of(uri: str, found: Survey) -> Pin:
    return Pin(
        feature="theirs@1",
        uri=uri,
        selection=found.selection,
        match=MatchRule(by=MatchBy.CLIP),
        modality=Modality.AUDIO,
        shape=found.shape,
        rows=len(found.keys),
        files=found.files,
    )


def npy(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path: Path, values: pa.Array, keys: list = KEYS, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": keys, "value": values}), path, **options)
    return path


# --------------------------------------------------------------------------- parquet


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.list_(pa.float32(), 4), "float32"),
        (pa.list_(pa.float32()), "float32"),
        (pa.large_list(pa.float64()), "float64"),
        (pa.list_(pa.float16(), 4), "float16"),
    ],
)
def test_a_column_of_lists_is_read_whatever_its_kind(tmp_path, kind, dtype):
    values = pa.array(list(VECTORS.astype(dtype)), kind)
    write_parquet(tmp_path / "data" / "dt=2026-11-20" / "part.parquet", values, row_group_size=1)
    found = look(tmp_path / "data", tmp_path, key="id")
    assert (found.shape, found.keys) == (Shape(kind=FeatureKind.VECTOR, dim=4, dtype=dtype), tuple(KEYS))
    assert found.selection.columns == ("value",)
    rows = rows_of(tmp_path / "data", tmp_path, found, {"a", "c"})
    assert sorted(rows) == ["a", "c"]
    assert np.array_equal(to_value(rows["c"], found.shape, 0, 1).array, VECTORS[2])


def test_lists_of_lists_are_sequences_and_several_columns_a_vector(tmp_path):
    steps = pa.array([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0]]], pa.list_(pa.list_(pa.float32(), 2)))
    path = write_parquet(tmp_path / "steps.parquet", steps)
    found = look(path, tmp_path, key="id")
    assert (found.shape.kind, found.shape.dim) == (FeatureKind.SEQUENCE, 2)
    value = to_value(rows_of(path, tmp_path, found, {"b"})["b"], found.shape, 100, 200)
    assert value.array.tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert value.times_ns.tolist() == [100, 150]

    path = tmp_path / "flat.parquet"
    pq.write_table(pa.table({"id": [7, 8], "x": [1.0, 2.0], "y": [3.0, 4.0]}), path)
    found = look(path, tmp_path, key="id", columns=("y", "x"))
    assert (found.keys, found.shape.dim, found.shape.is_rounded) == (("7", "8"), 2, True)
    assert rows_of(path, tmp_path, found, {"8"})["8"].tolist() == [4.0, 2.0]


def test_rows_without_a_value_or_of_another_shape_are_said(tmp_path):
    values = pa.array([[1.0, 2.0], None, [1.0, None], [1.0]], pa.list_(pa.float32()))
    path = write_parquet(tmp_path / "data.parquet", values, keys=["a", "b", "c", "d"])
    found = look(path, tmp_path, key="id")
    rows = rows_of(path, tmp_path, found, {"a", "b", "c", "d"})
    assert sorted(rows) == ["a", "c", "d"], "a row that is null is no row"
    with pytest.raises(SampleError, match="nonfinite"):
        to_value(rows["c"], found.shape, 0, 1)
    with pytest.raises(SampleError, match="wrong_shape"):
        to_value(rows["d"], found.shape, 0, 1)


# --------------------------------------------------------------------------- tars and npy


def test_members_of_a_tar_are_rows_by_the_part_before_the_dot(tmp_path):
    members = {f"day/{key}.emb.npy": npy(row) for key, row in zip(KEYS, VECTORS, strict=True)}
    path = write_tar(tmp_path / "tars" / "000.tar", members | {"day/a.json": b"{}"})
    found = look(path, tmp_path)
    assert (found.selection.columns, found.keys) == (("emb.npy",), ("day/a", "day/b", "day/c"))
    rows = rows_of(path, tmp_path, found, {"day/b"})
    assert rows["day/b"].tolist() == VECTORS[1].tolist()


def test_npy_files_carry_the_key_in_their_name_and_a_matrix_in_a_file_beside_it(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for key, row in zip(KEYS, VECTORS, strict=True):
        (folder / f"emb_{key}.npy").write_bytes(npy(row))
    found = look(folder, tmp_path, key=r"emb_(?P<key>\w)\.npy")
    assert found.keys == tuple(KEYS)
    assert rows_of(folder, tmp_path, found, {"c"})["c"].tolist() == VECTORS[2].tolist()

    folder = tmp_path / "matrix"
    folder.mkdir()
    (folder / "all.npy").write_bytes(npy(VECTORS))
    (folder / "names.txt").write_text("a\nb\nc\n")
    found = look(folder, tmp_path, keys="names.txt")
    assert (found.selection.format, found.shape.dim, len(found.files)) == (SourceFormat.NPY_MATRIX, 4, 2)
    assert rows_of(folder, tmp_path, found, {"a"})["a"].tolist() == VECTORS[0].tolist()
    (folder / "names.txt").write_text("a\nb\n")
    with pytest.raises(ConfigError, match=r"2 keys, but all\.npy has 3 rows"):
        look(folder, tmp_path, keys="names.txt")


def test_objects_are_never_unpickled(tmp_path):
    evil = npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.npy").write_bytes(evil)
    with pytest.raises(ConfigError, match="would run code"):
        look(folder, tmp_path)
    path = write_tar(tmp_path / "x.tar", {"a.npy": npy(VECTORS[0]), "b.npy": evil})
    found = look(path, tmp_path)
    row = rows_of(path, tmp_path, found, {"b"})["b"]
    assert isinstance(row, SampleError)
    assert row.code == "bad_npy"


def test_what_cannot_be_understood_is_refused_with_a_way_out(tmp_path):
    path = write_parquet(tmp_path / "p" / "x.parquet", pa.array(list(VECTORS), pa.list_(pa.float32())))
    with pytest.raises(ConfigError, match="--key"):
        look(path, tmp_path)
    with pytest.raises(ConfigError, match="has no column 'clip'; its columns are: id, value"):
        look(path, tmp_path, key="clip")
    twice = write_parquet(tmp_path / "t" / "x.parquet", pa.array(list(VECTORS), pa.list_(pa.float32())), keys=["a"] * 3)
    with pytest.raises(ConfigError, match="'a' comes twice"):
        look(twice, tmp_path, key="id")
    with pytest.raises(ConfigError, match=r"no \.parquet, \.tar or \.npy file"):
        look(tmp_path / "nowhere", tmp_path)
    whole = write_parquet(tmp_path / "i" / "x.parquet", pa.array([[1], [2], [3]], pa.list_(pa.int64())))
    with pytest.raises(ConfigError, match="int64"):
        look(whole, tmp_path, key="id")
    with pytest.raises(ConfigError, match="is no plain tar"):
        look(write_broken(tmp_path / "b.tar"), tmp_path)


def write_broken(path: Path) -> Path:
    path.write_bytes(b"never a tar" * 100)
    return path


# --------------------------------------------------------------------------- files and pins


def test_a_change_is_seen_by_size_or_digest_and_a_touch_is_none(tmp_path):
    path = write_parquet(tmp_path / "d" / "x.parquet", pa.array(list(VECTORS), pa.list_(pa.float32())))
    found = look(tmp_path / "d", tmp_path, key="id")
    source = ExternalSource(str(tmp_path / "d"))

    def drift(stamps):
        return find_drift(source, found.files, (".parquet",), stamps)

    assert drift(found.stamps) == (None, found.stamps)
    data = bytearray(path.read_bytes())
    path.write_bytes(data)
    assert drift(found.stamps)[0] is None, "the same bytes at another time are the same"
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    changed, _ = drift(found.stamps)
    assert changed.detail == "files: 1 changed (x.parquet)"
    with pytest.raises(TransientError, match="changed since it was pinned"):
        rows_of(tmp_path / "d", tmp_path, found, {"a"})
    assert not list((tmp_path / "scratch").iterdir())
    path.unlink()
    assert drift(found.stamps)[0].is_gone


def test_a_remote_file_system_is_read_alike():
    memory = fsspec.filesystem("memory")
    memory.pipe("/theirs/a.npy", npy(VECTORS[0]))
    try:
        source = ExternalSource("memory://theirs")
        (seen,) = source.list_files((".npy",))
        assert (seen.name, seen.nbytes) == ("a.npy", len(npy(VECTORS[0])))
        assert len(source.digest("a.npy")) == 64
    finally:
        memory.rm("/theirs", recursive=True)


def test_a_pin_comes_back_as_it_was_and_has_no_secrets(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", pa.array(list(VECTORS), pa.list_(pa.float32())))
    pin = pin_of(str(path), look(path, tmp_path, key="id"))
    assert parse_pin(pin.to_bytes(), "here") == pin
    for uri in ("s3://user:word@bucket/x", "https://host/x.parquet?token=1"):
        with pytest.raises(ConfigError, match="credentials through the environment"):
            clean_uri(uri)
