"""Features of bytes: writer, reader, batches, checks, exports and other tools hold them as uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmpipe
from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.share.export import Target, plan_export, write_export
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store, sample_value
from mmpipe.store.schema import check_schema
from mmpipe.store.verify import verify_store
from mmpipe.train.data import tensors_of
from mmpipe.types import FeatureKind, FeatureSchema, Modality

STILL = SampleFeature(
    schema=FeatureSchema(
        feature="image-pixels@1", modality=Modality.IMAGE, kind=FeatureKind.VECTOR, dim=48, dtype="uint8"
    ),
    missing=0.2,
)
FILM = SampleFeature(
    schema=FeatureSchema(
        feature="video-pixels@1", modality=Modality.VIDEO, kind=FeatureKind.SEQUENCE, dim=48, dtype="uint8"
    ),
    max_steps=5,
)
FEATURES = {one.schema.feature: one for one in (STILL, FILM)}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> StoreLayout:
    return make_sample_store(
        tmp_path_factory.mktemp("bytes") / "store", list(FEATURES.values()), shards=2, shard_clips=8
    )


def test_bytes_come_back_as_they_were_written(layout: StoreLayout) -> None:
    reader = mmpipe.open(layout.root / "sample", features=list(FEATURES))
    batch = reader.gather(np.arange(len(reader)))
    seen = 0
    for name, one in FEATURES.items():
        part = batch.features[name]
        assert part.x_BTD.dtype == np.uint8
        for row, key in enumerate(batch.keys):
            expected = sample_value(one, key)
            assert part.mask_BT[row].any() == (expected is not None)
            if expected is not None:
                rows = expected.array.reshape(-1, 48)
                np.testing.assert_array_equal(part.x_BTD[row, : len(rows)], rows)
                seen = max(seen, int(rows.max()))
    assert seen > 127, "the upper half of a byte was never tried"
    (first, *_) = reader.torch_batches(4, seed=3)
    assert str(first.x["image-pixels@1"].dtype) == "torch.uint8"
    tensors = tensors_of(reader.gather(np.arange(4)), list(FEATURES))
    assert {str(x_BTD.dtype) for x_BTD, _ in tensors.values()} == {"torch.float32"}


def test_verify_finds_nothing(layout: StoreLayout) -> None:
    assert verify_store(layout) == ()


def test_polars_sees_bytes(layout: StoreLayout) -> None:
    (folder,) = (layout.dataset("sample", "image-pixels@1").root / "data").iterdir()
    frame = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob("*.parquet")))
    assert frame.schema["value"] == pl.Array(pl.UInt8, 48)
    key, value = frame.row(0, named=True)["key"], frame["value"].to_numpy()[0]
    expected = sample_value(STILL, key)
    assert expected is not None
    np.testing.assert_array_equal(value, expected.array)


@pytest.mark.parametrize("target", list(Target))
def test_an_export_keeps_bytes(layout: StoreLayout, tmp_path: Path, target: Target) -> None:
    config = parse_config({"store": str(layout.root), "corpora": {"sample": {"root": "."}}})
    out = tmp_path / "out"
    write_export(plan_export(config, "sample", target, out), 8)
    if target is Target.PARQUET:
        frame = pl.concat(pl.read_parquet(path) for path in sorted(out.glob("data/*.parquet")))
        assert frame.schema["image-pixels@1"] == pl.Array(pl.UInt8, 48)
        assert frame.schema["video-pixels@1"] == pl.List(pl.Array(pl.UInt8, 48))
    if target is Target.WEBDATASET:
        tars = b"".join(path.read_bytes() for path in sorted(out.glob("*.tar")))
        assert b"'descr': '|u1'" in tars and b"'descr': '<f4'" not in tars


def test_a_vector_of_whole_numbers_of_another_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="uint8"):
        check_schema(
            FeatureSchema(feature="x@1", modality=Modality.IMAGE, kind=FeatureKind.VECTOR, dim=1, dtype="int32")
        )
