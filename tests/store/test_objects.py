from __future__ import annotations

import hashlib
import os

import pytest

from mmpipe.errors import StoreError
from mmpipe.store.layout import create_store
from mmpipe.store.manifest import FileEntry
from mmpipe.store.objects import has_object, put_bytes, put_object, read_object, stage_path


@pytest.fixture
def dataset(fast_path):
    return create_store(fast_path / "store").dataset("talk", "audio-logmel@1")


def entry_of(data: bytes) -> FileEntry:
    return FileEntry(role="data", name="000000.tar", nbytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def test_a_staged_file_becomes_an_object_named_by_its_bytes(dataset):
    staged = stage_path(dataset)
    staged.write_bytes(b"shard")
    sha256, nbytes = put_object(dataset, staged)
    assert (sha256, nbytes) == (hashlib.sha256(b"shard").hexdigest(), 5)
    assert dataset.object(sha256).read_bytes() == b"shard"
    assert not staged.exists()
    assert dataset.object(sha256).stat().st_nlink == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_objects_are_read_only_whatever_the_umask(dataset, umask):
    before = os.umask(umask)
    try:
        sha256, _ = put_bytes(dataset, b"shard")
    finally:
        os.umask(before)
    assert dataset.object(sha256).stat().st_mode & 0o777 == 0o444


def test_the_same_bytes_twice_are_one_object(dataset):
    first = put_bytes(dataset, b"shard")
    inode = dataset.object(first[0]).stat().st_ino
    assert put_bytes(dataset, b"shard") == first
    assert dataset.object(first[0]).stat().st_ino == inode
    assert list(dataset.staging.iterdir()) == []


@pytest.mark.parametrize("damage", [b"sharp", b"shar", b""])
def test_a_damaged_object_is_named_and_not_taken_for_the_bytes(dataset, damage):
    sha256, _ = put_bytes(dataset, b"shard")
    path = dataset.object(sha256)
    path.chmod(0o644)
    path.write_bytes(damage)
    with pytest.raises(StoreError, match=rf"{sha256}.*mmpipe verify"):
        put_bytes(dataset, b"shard")
    with pytest.raises(StoreError, match=rf"{sha256}.*changed on the disk"):
        read_object(dataset, entry_of(b"shard"))


def test_every_flipped_bit_of_an_object_is_found_on_reading(dataset):
    data = bytes(range(40))
    sha256, _ = put_bytes(dataset, data)
    path = dataset.object(sha256)
    path.chmod(0o644)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(StoreError):
            read_object(dataset, entry_of(data))
    path.write_bytes(data)
    assert read_object(dataset, entry_of(data)) == data


def test_a_missing_object_is_said_to_be_missing(dataset):
    assert not has_object(dataset, entry_of(b"nothing"))
    with pytest.raises(StoreError, match=r"missing.*mmpipe verify"):
        read_object(dataset, entry_of(b"nothing"))


@pytest.mark.parametrize(
    "wrong",
    [{"sha256": "../../etc"}, {"name": "../x.tar"}, {"name": ".x.tar"}, {"name": "README.md"}, {"role": "other"}],
)
def test_an_entry_cannot_lead_out_of_the_store_or_break_a_view(wrong):
    fields = {"role": "data", "name": "000000.tar", "nbytes": 1, "sha256": "0" * 64}
    with pytest.raises(StoreError):
        FileEntry(**fields | wrong)
