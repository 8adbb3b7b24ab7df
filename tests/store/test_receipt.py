from __future__ import annotations

import dataclasses

import pytest

from mmpipe.store.layout import create_store
from mmpipe.store.manifest import FileEntry, ShardEntry, ShardStatistics
from mmpipe.store.objects import put_bytes
from mmpipe.store.receipt import Receipt, drop_receipts, put_receipt, read_receipt
from mmpipe.types import Drop

DAY = "2026-11-20"


@pytest.fixture
def dataset(fast_path):
    return create_store(fast_path / "store").dataset("talk", "audio-logmel@1")


@pytest.fixture
def receipt(dataset) -> Receipt:
    sha256, nbytes = put_bytes(dataset, b"shard")
    file = FileEntry(role="data", name="000004.tar", nbytes=nbytes, sha256=sha256)
    statistics = ShardStatistics(num_zero=1, norm_mean=0.1)
    entry = ShardEntry(
        number=4, files=(file,), samples=2, inputs="made from", spine=3, quarantined=1, statistics=statistics
    )
    drop = Drop(stage="extract", code="nonfinite", detail="NaN in 'ä\n'", clip_key="k", feature="audio-logmel@1")
    return Receipt(entry=entry, drops=(drop,))


def read(dataset, **other) -> Receipt | None:
    wanted = {"partition": DAY, "fingerprint": "f", "number": 4, "inputs": "made from"} | other
    return read_receipt(dataset, **wanted)


def test_a_receipt_comes_back_as_it_was(dataset, receipt):
    put_receipt(dataset, DAY, "f", receipt)
    assert read(dataset) == receipt


@pytest.mark.parametrize(
    "other", [{"partition": "2026-11-21"}, {"fingerprint": "g"}, {"number": 5}, {"inputs": "something else"}]
)
def test_it_speaks_for_its_own_shard_inputs_and_fingerprint_alone(dataset, receipt, other):
    put_receipt(dataset, DAY, "f", receipt)
    assert read(dataset, **other) is None


def test_the_first_one_stays(dataset, receipt):
    put_receipt(dataset, DAY, "f", receipt)
    put_receipt(dataset, DAY, "f", dataclasses.replace(receipt, drops=()))
    assert read(dataset) == receipt


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_without_its_objects_it_is_void_and_makes_room(dataset, receipt, damage):
    put_receipt(dataset, DAY, "f", receipt)
    path = dataset.object(receipt.entry.files[0].sha256)
    path.unlink()
    if damage == "cut":
        path.write_bytes(b"sha")
    assert read(dataset) is None
    path.unlink(missing_ok=True)
    put_bytes(dataset, b"shard")
    put_receipt(dataset, DAY, "f", dataclasses.replace(receipt, drops=()))
    assert read(dataset).drops == ()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff", b'{"entry": {}, "drops": []}'])
def test_a_damaged_one_is_void(dataset, receipt, damage):
    put_receipt(dataset, DAY, "f", receipt)
    (path,) = dataset.staging.glob("receipts/*")
    path.write_bytes(damage)
    assert read(dataset) is None
    assert not path.exists()


def test_it_goes_when_the_shard_is_committed(dataset, receipt):
    put_receipt(dataset, DAY, "f", receipt)
    drop_receipts(dataset, DAY, "f", [receipt.entry])
    drop_receipts(dataset, DAY, "f", [receipt.entry])
    assert list(dataset.staging.glob("receipts/*")) == []
