from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import ConfigError, SampleError
from mmpipe.store.shard import ShardSpec
from mmpipe.store.writer import open_shard_writer
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Modality

SCHEMA = FeatureSchema(feature="text-toy@2", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=7)
SPEC = ShardSpec(corpus="c", partition="2026-11-20", number=12, schema=SCHEMA, fingerprint="f" * 64)
VALUES = {f"k{n}": np.random.default_rng(n).standard_normal(7).astype(np.float32) for n in range(9)}


def write(folder: Path):
    folder.mkdir(exist_ok=True)
    with open_shard_writer(SPEC, folder) as writer:
        for number, (key, array_D) in enumerate(VALUES.items()):
            writer.add(key, number, "stream", 0, 5, FeatureValue(array=array_D))
        return writer.close()


def test_polars_and_pyarrow_read_the_columns(tmp_path: Path) -> None:
    (file,) = write(tmp_path).files
    assert (file.entry.role, file.entry.name) == ("data", "000012.parquet")
    frame = pl.read_parquet(file.path)
    assert frame.schema["value"] == pl.Array(pl.Float32, 7)
    assert frame["event_date"].unique().to_list() == [date(2026, 11, 20)]
    assert np.array_equal(frame["value"].to_numpy(), np.stack(list(VALUES.values())))
    assert pq.read_schema(file.path).field("value").type == pa.list_(pa.float32(), 7)
    assert "dt" not in frame.columns


def test_file_says_what_it_is(tmp_path: Path) -> None:
    (file,) = write(tmp_path).files
    facts = json.loads(pl.read_parquet_metadata(file.path)["mmpipe"])
    assert facts["schema"]["feature"] == "text-toy@2"
    assert (facts["corpus"], facts["partition"], facts["shard"]) == ("c", "2026-11-20", 12)
    assert facts["fingerprint"] == SPEC.fingerprint


def test_same_values_are_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert [file.entry for file in first.files] == [file.entry for file in second.files]


def test_pages_carry_checksums(tmp_path: Path) -> None:
    (file,) = write(tmp_path).files
    column = pq.read_metadata(file.path).row_group(0).column(6)
    data = bytearray(file.path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(OSError):
        pq.read_table(file.path, page_checksum_verification=True)


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([1, 2, 3, 4, 5, 6, np.nan], np.float32), "nonfinite"),
        (np.zeros(6, np.float32), "wrong_shape"),
        (np.zeros((1, 7), np.float32), "wrong_shape"),
        (np.zeros(7, np.float16), "wrong_dtype"),
    ],
)
def test_bad_value_is_refused(tmp_path: Path, array: np.ndarray, code: str) -> None:
    with open_shard_writer(SPEC, tmp_path) as writer:
        with pytest.raises(SampleError) as caught:
            writer.add("k", 0, "stream", 0, 5, FeatureValue(array=array))
        assert caught.value.code == code
        assert writer.close().files == ()
    assert not list(tmp_path.iterdir())


def test_callers_buffer_may_be_used_again(tmp_path: Path) -> None:
    buffer_D = np.ones(7, np.float32)
    with open_shard_writer(SPEC, tmp_path) as writer:
        writer.add("a", 0, "stream", 0, 5, FeatureValue(array=buffer_D))
        buffer_D[:] = 2
        (file,) = writer.close().files
    assert pl.read_parquet(file.path)["value"].to_numpy().tolist() == [[1.0] * 7]


def test_schema_that_no_shard_can_hold_is_refused(tmp_path: Path) -> None:
    half = FeatureSchema(feature="x@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=7, dtype="float64")
    spec = ShardSpec(corpus="c", partition="2026-11-20", number=0, schema=half, fingerprint="")
    with pytest.raises(ConfigError, match="float64"):
        open_shard_writer(spec, tmp_path)
