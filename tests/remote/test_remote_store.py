"""A store in an S3 bucket holds and gives the same as one in a folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import mmpipe
from mmpipe.config import load_config
from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import local_file, replace_durable
from mmpipe.remote import RemotePath, store_path
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6),
    min_steps=1,
    max_steps=9,
    missing=0.3,
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=16), missing=0.2
)
DAY = "2026-11-20"


@pytest.fixture
def stores(tmp_path: Path, s3_root: Path) -> tuple[StoreLayout, StoreLayout]:
    """The same store twice: in a folder, in a bucket."""
    local, far = (
        make_sample_store(root, [AUDIO, TEXT], shards=2, shard_clips=4) for root in (tmp_path / "store", s3_root)
    )
    return local, far


def test_bucket_holds_the_bytes_of_the_folder(stores, store_content):
    local, far = stores
    assert store_content(far.root) == store_content(local.root)


def test_reader_gives_the_same_from_a_url(stores):
    local, far = stores
    here, there = mmpipe.open(local.root), mmpipe.open(str(far.root))
    assert here.spine.equals(there.spine)
    rows = np.arange(here.spine.height)
    mine, theirs = here.gather(rows), there.gather(rows)
    assert mine.keys == theirs.keys
    for name, values in mine.features.items():
        np.testing.assert_array_equal(values.x_BTD, theirs.features[name].x_BTD)
        np.testing.assert_array_equal(values.mask_BT, theirs.features[name].mask_BT)


def test_snapshot_is_kept_and_read_by_digest(stores):
    local, far = stores
    kept = take_snapshot(far, "sample", [AUDIO.schema.feature])
    save_snapshot(far, kept)
    assert kept == take_snapshot(local, "sample", [AUDIO.schema.feature])
    assert mmpipe.open(str(far.root), snapshot=kept.digest).spine.height == 8


def test_damage_in_a_bucket_is_found(stores, tmp_path):
    _, far = stores
    assert verify_store(far) == ()
    dataset = far.dataset("sample", TEXT.schema.feature)
    head = read_head(dataset, DAY)
    path = dataset.object(head.shards[0].files[0].sha256)
    replace_durable(path, path.read_bytes()[:-1] + b"?", tmp_path / "unused")
    assert "object_damaged" in {finding.code for finding in verify_store(far)}
    with pytest.raises(StoreError, match="verify"):
        mmpipe.open(str(far.root)).gather(np.arange(8))


def test_damaged_copy_on_this_machine_is_refused(stores):
    _, far = stores
    dataset = far.dataset("sample", TEXT.schema.feature)
    copy = local_file(dataset.object(read_head(dataset, DAY).shards[0].files[0].sha256))
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="verify"):
        mmpipe.open(str(far.root)).gather(np.arange(8))


def test_config_takes_a_url_and_leaves_it_alone(tmp_path, monkeypatch):
    (tmp_path / "mmpipe.toml").write_text('store = "s3://bucket/team/store"\n')
    store = load_config(tmp_path / "mmpipe.toml").store
    assert isinstance(store, RemotePath)
    assert str(store) == "s3://bucket/team/store"
    monkeypatch.setenv("MMPIPE_STORE", "s3://other/store")
    assert str(load_config(tmp_path / "mmpipe.toml").store) == "s3://other/store"
    assert store_path("folder") == Path("folder")
    assert store_path("file:///folder") == Path("/folder")


def test_url_without_a_store_is_named(s3_root):
    with pytest.raises(ConfigError, match="no store at s3://"):
        open_store(s3_root)


def test_path_is_never_opened_as_a_local_file(s3_root):
    with pytest.raises(TypeError, match="local_file"):
        open(s3_root / "name", "rb")  # noqa: SIM115
    assert pickle.loads(pickle.dumps(s3_root)) == s3_root
