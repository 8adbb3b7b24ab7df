from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import SampleError, StoreError
from mmpipe.io import sha256_file
from mmpipe.store.parquet import write_parquet
from mmpipe.store.shard import RawValue, ShardSpec, array_sha256, check_value
from mmpipe.store.tarshard import INDEX_SCHEMA, member_around
from mmpipe.store.writer import open_shard_writer
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Modality

SCHEMA = FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=5)
SPEC = ShardSpec(corpus="c", partition="2026-11-20", number=3, schema=SCHEMA, fingerprint="f" * 64)


def value(seed: int, steps: int) -> FeatureValue:
    array = np.random.default_rng(seed).standard_normal((steps, SCHEMA.dim)).astype(np.float32)
    return FeatureValue(array=array, times_ns=np.arange(steps, dtype=np.int64) * 7)


VALUES = {f"clip-{seed}": value(seed, steps) for seed, steps in enumerate((1, 3, 100, 2))}


def write(folder: Path, values: dict[str, FeatureValue] = VALUES):
    folder.mkdir(exist_ok=True)
    with open_shard_writer(SPEC, folder) as writer:
        for number, (key, one) in enumerate(values.items()):
            writer.add(key, 2 * number, f"stream-{number}", 10, 20, one)
        return writer.close()


def test_index_points_at_aligned_numbers(tmp_path: Path) -> None:
    staged = write(tmp_path)
    tar, index = staged.files
    data = tar.path.read_bytes()
    rows = pq.read_table(index.path).to_pylist()
    assert [row["key"] for row in rows] == list(VALUES)
    assert [row["ordinal"] for row in rows] == [0, 2, 4, 6]
    for row in rows:
        expected = VALUES[row["key"]]
        numbers = np.frombuffer(data, row["dtype"], row["nbytes"] // 4, row["offset"]).reshape(row["shape"])
        assert row["offset"] % 64 == 0
        assert np.array_equal(numbers, expected.array)
        assert row["times_ns"] == expected.times_ns.tolist()
        assert row["sha256"] == array_sha256(expected.array)
        assert (row["start_ns"], row["end_ns"]) == (10, 20)
    assert (tar.entry.name, index.entry.name) == ("000003.tar", "000003.parquet")
    assert tar.entry.sha256 == sha256_file(tar.path)
    assert tar.entry.sha256.encode() in pq.read_metadata(index.path).metadata[b"mmpipe"]


def test_tarfile_reads_exact_arrays(tmp_path: Path) -> None:
    staged = write(tmp_path)
    with tarfile.open(staged.files[0].path) as tar:
        members = tar.getmembers()
        arrays = {member.name: np.load(io.BytesIO(tar.extractfile(member).read())) for member in members}
    assert {name.removesuffix(".npy") for name in arrays} == set(VALUES)
    for name, array in arrays.items():
        assert np.array_equal(array, VALUES[name.removesuffix(".npy")].array)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its file open
def test_webdataset_reads_exact_arrays(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    staged = write(tmp_path)
    samples = list(webdataset.WebDataset(str(staged.files[0].path), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == list(VALUES)
    for sample in samples:
        assert sample["npy"].dtype == np.float32
        assert np.array_equal(sample["npy"], VALUES[sample["__key__"]].array)


def test_same_values_are_same_bytes_whatever_the_surroundings(tmp_path: Path) -> None:
    digests = set()
    for number, (umask, zone, language) in enumerate((("000", "UTC", "C"), ("077", "Asia/Tokyo", "tr_TR.UTF-8"))):
        folder = tmp_path / str(number)
        program = f"""
import importlib.util, os, pathlib
os.umask(0o{umask})
spec = importlib.util.spec_from_file_location("shards", {str(Path(__file__))!r})
shards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shards)
for file in shards.write(pathlib.Path({str(folder)!r})).files:
    print(file.entry)
"""
        surroundings = {**os.environ, "TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": umask}
        done = subprocess.run([sys.executable, "-c", program], env=surroundings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
    assert "000003.tar" in digests.pop()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (FeatureValue(array=np.full((2, 5), np.nan, np.float32), times_ns=np.zeros(2, np.int64)), "nonfinite"),
        (FeatureValue(array=np.full((2, 5), np.inf, np.float32), times_ns=np.zeros(2, np.int64)), "nonfinite"),
        (FeatureValue(array=np.zeros((2, 5)), times_ns=np.zeros(2, np.int64)), "wrong_dtype"),
        (FeatureValue(array=np.zeros((2, 4), np.float32), times_ns=np.zeros(2, np.int64)), "wrong_shape"),
        (FeatureValue(array=np.zeros((0, 5), np.float32), times_ns=np.zeros(0, np.int64)), "wrong_shape"),
        (FeatureValue(array=np.zeros(5, np.float32)), "wrong_shape"),
        (FeatureValue(array=np.zeros((2, 5), np.float32)), "wrong_times"),
        (FeatureValue(array=np.zeros((2, 5), np.float32), times_ns=np.zeros(3, np.int64)), "wrong_times"),
        (FeatureValue(array=np.zeros((2, 5), np.float32), times_ns=np.array([5, 4])), "wrong_times"),
    ],
)
def test_bad_value_is_refused_and_leaves_the_shard_as_it_was(tmp_path: Path, bad: FeatureValue, code: str) -> None:
    clean = write(tmp_path / "clean")
    (tmp_path / "other").mkdir()
    with open_shard_writer(SPEC, tmp_path / "other") as writer:
        for number, (key, one) in enumerate(VALUES.items()):
            if number == 2:
                with pytest.raises(SampleError) as caught:
                    writer.add("bad", 3, "stream", 10, 20, bad)
                assert caught.value.code == code
            writer.add(key, 2 * number, f"stream-{number}", 10, 20, one)
        staged = writer.close()
    assert [file.entry for file in staged.files] == [file.entry for file in clean.files]
    assert staged.statistics == clean.statistics


@pytest.mark.parametrize(("key", "ordinal"), [("clip-0", 9), ("a.b", 9), ("", 9), ("ÄB", 9), ("fresh", 0)])
def test_keys_and_ordinals_are_held(tmp_path: Path, key: str, ordinal: int) -> None:
    with open_shard_writer(SPEC, tmp_path) as writer:
        writer.add("clip-0", 0, "stream", 0, 1, VALUES["clip-0"])
        with pytest.raises(AssertionError):
            writer.add(key, ordinal, "stream", 0, 1, VALUES["clip-1"])
        assert writer.close().samples == 1


def test_shard_without_values_has_no_files(tmp_path: Path) -> None:
    staged = write(tmp_path, {})
    assert (staged.files, staged.samples) == ((), 0)
    assert not list(tmp_path.iterdir())


def test_failed_work_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_shard_writer(SPEC, tmp_path) as writer:
        writer.add("clip-0", 0, "stream", 0, 1, VALUES["clip-0"])
        raise KeyError("the worker failed")
    assert not list(tmp_path.iterdir())


def test_statistics_tell_zero_constant_and_norms(tmp_path: Path) -> None:
    times_ns = np.zeros(1, np.int64)
    rows = {"zero": np.zeros((1, 5)), "flat": np.full((1, 5), 2.0), "mixed": np.array([[3.0, 4, 0, 0, 0]])}
    values = {key: FeatureValue(array=row.astype(np.float32), times_ns=times_ns) for key, row in rows.items()}
    statistics = write(tmp_path, values).statistics
    assert (statistics.num_nan, statistics.num_zero, statistics.num_constant) == (0, 1, 2)
    assert (statistics.norm_min, statistics.norm_max) == (0.0, 5.0)
    assert statistics.norm_mean == pytest.approx((0 + 20**0.5 + 5) / 3, rel=1e-8)


def test_reused_value_must_be_whole_and_of_the_same_extractor(tmp_path: Path) -> None:
    one = VALUES["clip-1"]
    raw = RawValue(value=one, fingerprint=SPEC.fingerprint, sha256=array_sha256(one.array))
    changed = RawValue(value=VALUES["clip-2"], fingerprint=SPEC.fingerprint, sha256=raw.sha256)
    foreign = RawValue(value=one, fingerprint="other", sha256=raw.sha256)
    with open_shard_writer(SPEC, tmp_path) as writer:
        with pytest.raises(StoreError, match="changed on the disk"):
            writer.add_raw("clip-1", 0, "stream", 0, 1, changed)
        with pytest.raises(AssertionError):
            writer.add_raw("clip-1", 0, "stream", 0, 1, foreign)
        writer.add_raw("clip-1", 0, "stream", 0, 1, raw)
        staged = writer.close()
    with tarfile.open(staged.files[0].path) as tar:
        assert np.array_equal(np.load(io.BytesIO(tar.extractfile("clip-1.npy").read())), one.array)


@pytest.mark.parametrize("key", ["a", "k0_-z", "7" * 64])
@pytest.mark.parametrize(("shape", "dtype"), [((1, 1), "uint8"), ((8, 512), "float16"), ((10_000_000, 50), "float32")])
def test_member_is_the_one_of_tarfile_and_numpy(key: str, shape: tuple[int, int], dtype: str) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
    member = tarfile.TarInfo(f"{key}.npy")
    member.size, member.mode = len(header.getvalue()) + np.prod(shape) * np.dtype(dtype).itemsize, 0o644
    before, after = member_around(key, shape, dtype)
    assert before == member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") + header.getvalue()
    assert after == bytes(-member.size % 512)


def test_bytes_are_those_of_every_earlier_shard(tmp_path: Path) -> None:
    """A committed store is compared by these bytes: another digest here means another layout, and a migration."""
    schema = FeatureSchema(feature="toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=256)
    spec = ShardSpec(corpus="c", partition="2026-11-20", number=0, schema=schema, fingerprint="f" * 64)
    with open_shard_writer(spec, tmp_path) as writer:
        for number, steps in enumerate((1, 40, 300, 300, 2, 7)):  # some larger than what is written at once
            array_TD = (np.arange(steps * 256, dtype=np.float32).reshape(steps, 256) - number) / 8
            value = FeatureValue(array=array_TD, times_ns=np.arange(steps, dtype=np.int64) * 9)
            writer.add(f"clip-{number}", number, "stream", number, number + 5, value)
        tar, index = writer.close().files
    assert (
        tar.entry.sha256 == sha256_file(tar.path) == "b4c0ad296beb49726b1707ca3add4c2d67ed783a662f754efd7621a4a7184711"
    )
    rows = pq.read_table(index.path).to_pylist()
    write_parquet(
        tmp_path / "by-rows.parquet",
        pa.table({name: [row[name] for row in rows] for name in INDEX_SCHEMA.names}, schema=INDEX_SCHEMA),
        {**spec.facts(), "tar_sha256": tar.entry.sha256},
        dictionary=("stream", "dtype"),
    )
    assert (tmp_path / "by-rows.parquet").read_bytes() == index.path.read_bytes()


def test_buffers_of_the_caller_may_be_used_again(tmp_path: Path) -> None:
    clean = write(tmp_path / "clean")
    array, times_ns = np.empty((100, 5), np.float32), np.empty(100, np.int64)
    (tmp_path / "other").mkdir()
    with open_shard_writer(SPEC, tmp_path / "other") as writer:
        for number, (key, one) in enumerate(VALUES.items()):
            steps = len(one.array)
            array[:steps], times_ns[:steps] = one.array, one.times_ns
            value = FeatureValue(array=array[:steps], times_ns=times_ns[:steps])
            writer.add(key, 2 * number, f"stream-{number}", 10, 20, value)
        staged = writer.close()
    assert [file.entry for file in staged.files] == [file.entry for file in clean.files]
    assert staged.statistics == clean.statistics


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_one_nonfinite_number_is_found(dtype: str, number: float) -> None:
    array = np.full((3, 5), np.finfo(dtype).max, dtype)
    schema = FeatureSchema(feature="toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=5, dtype=dtype)
    check_value(schema, FeatureValue(array=array, times_ns=np.zeros(3, np.int64)))
    array[1, 2] = number
    with pytest.raises(SampleError, match="has 1 NaN or infinite of 15"):
        check_value(schema, FeatureValue(array=array, times_ns=np.zeros(3, np.int64)))
