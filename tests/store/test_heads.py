"""The frame of heads: the same from memory and from the manifests, and never older than them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmpipe.errors import StoreError
from mmpipe.store.cache import cache_path
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.heads import missing_objects, read_heads
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.sample import make_sample_store

DATES = ("2026-11-18", "2026-11-19", "2026-11-20")


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return make_sample_store(tmp_path / "store", (), partitions=DATES)


@pytest.fixture
def spine(layout: StoreLayout) -> DatasetLayout:
    return layout.dataset("sample", CLIPS)


def test_heads_say_what_the_manifests_say(spine):
    rows = read_heads(spine).select("partition", "revision", "shard", "samples", "data", "data_nbytes").rows()
    assert rows == [
        (partition, 1, shard.number, shard.samples, shard.files[0].sha256, shard.files[0].nbytes)
        for partition in DATES
        for shard in read_head(spine, partition).shards
    ]
    assert read_heads(spine, DATES[:1])["partition"].unique().to_list() == [DATES[0]]


@pytest.mark.parametrize("damage", ["none", "lost", "cut", "bit", "foreign"])
def test_a_kept_frame_is_used_or_made_again_but_never_wrong(layout, spine, damage):
    before = read_heads(spine, worth_keeping=1)
    path = cache_path(layout, "sample", CLIPS)
    data = path.read_bytes()
    if damage == "lost":
        path.unlink()
    elif damage != "none":
        path.write_bytes({"cut": data[:-9], "bit": data[:-9] + b"x" + data[-8:], "foreign": b"hello"}[damage])
    assert read_heads(spine, worth_keeping=1).equals(before)


def test_only_a_new_head_is_read_again(spine):
    read_heads(spine, worth_keeping=1)
    for partition in DATES[:2]:  # never looked at again: what was read of them is kept
        manifest = spine.meta(partition) / "000001.json"
        status = manifest.stat()
        manifest.chmod(0o644)
        manifest.write_bytes(bytes(status.st_size))
        os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))
    head = read_head(spine, DATES[2])
    commit_partition(
        spine, DATES[2], schema=head.schema, fingerprint="", shards={0: head.shards[0]}, totals={"files": 1}
    )
    heads = read_heads(spine, worth_keeping=1)
    assert heads.group_by("partition", maintain_order=True).first()["revision"].to_list() == [1, 1, 2]


def test_a_head_whose_file_is_another_one_is_read_with_all_its_checks(spine):
    read_heads(spine, worth_keeping=1)
    manifest = spine.meta(DATES[0]) / "000001.json"
    manifest.unlink()
    manifest.write_bytes(b"{}")
    with pytest.raises(StoreError, match="damaged"):
        read_heads(spine, worth_keeping=1)


def test_a_gap_is_named_though_everything_is_kept(spine):
    read_heads(spine, worth_keeping=1)
    manifest = spine.meta(DATES[0]) / "000001.json"
    manifest.rename(manifest.with_name("000002.json"))
    with pytest.raises(StoreError, match="gap"):
        read_heads(spine, worth_keeping=1)


def test_missing_and_cut_objects_are_found(spine):
    heads = read_heads(spine)
    assert missing_objects(spine, heads).is_empty()
    first, second = heads["data"][0], heads["data"][1]
    spine.object(first).unlink()
    spine.object(second).chmod(0o644)
    spine.object(second).write_bytes(b"cut")
    assert sorted(missing_objects(spine, heads)["data"]) == sorted([first, second])
