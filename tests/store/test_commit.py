from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import StoreError, TransientError
from mmpipe.store import commit as commit_module
from mmpipe.store.commit import commit_partition, list_revisions, read_head, read_manifest
from mmpipe.store.layout import create_store
from mmpipe.store.manifest import FileEntry, Manifest, ShardEntry
from mmpipe.store.objects import put_bytes
from mmpipe.store.receipt import Receipt, put_receipt, read_receipt
from mmpipe.store.view import heal_view

DAY = "2026-11-20"


@pytest.fixture
def dataset(fast_path):
    return create_store(fast_path / "store").dataset("talk", "audio-logmel@1")


def shard(dataset, number: int, content: str = "", suffix: str = "tar") -> ShardEntry:
    sha256, nbytes = put_bytes(dataset, f"shard {number} {content}".encode())
    entry = FileEntry(role="data", name=f"{number:06d}.{suffix}", nbytes=nbytes, sha256=sha256)
    return ShardEntry(number=number, files=(entry,), samples=1, inputs=content, spine=1)


def commit(dataset, *shards: ShardEntry, fingerprint: str = "f", schema: str = "s", **options) -> Manifest:
    numbered = {entry.number: entry for entry in shards}
    return commit_partition(dataset, DAY, schema=schema, fingerprint=fingerprint, shards=numbered, **options)


def shown(dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(dataset.data(DAY).iterdir())}


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Return what changes with any write to a tree, folders included."""
    paths = [root, *root.rglob("*")]
    return {str(path): (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in paths}


# --------------------------------------------------------------------------- what a revision holds


def test_before_the_first_commit_there_is_no_head(dataset):
    assert read_head(dataset, DAY) is None
    assert list_revisions(dataset, DAY) == ()
    assert not heal_view(dataset, DAY)


def test_shards_join_those_of_the_head_and_each_revision_names_its_parent(dataset):
    first = commit(dataset, shard(dataset, 0), shard(dataset, 2))
    second = commit(dataset, shard(dataset, 1), shard(dataset, 2, "corrected"))
    assert (first.revision, first.parent) == (1, "")
    assert (second.revision, second.parent) == (2, first.digest())
    assert [entry.number for entry in second.shards] == [0, 1, 2]
    assert second.shard(0) == first.shard(0)
    assert second.shard(2).inputs == "corrected"
    assert read_head(dataset, DAY) == second
    assert read_manifest(dataset, DAY, 1) == first
    assert shown(dataset)["000002.tar"] == b"shard 2 corrected"


def test_equal_content_makes_no_revision_and_writes_nothing(dataset):
    entries = shard(dataset, 0), shard(dataset, 1)
    first = commit(dataset, *entries, totals={"files": 2})
    before = stamps(dataset.root)
    assert commit(dataset, *entries) == first
    assert commit(dataset, entries[1], totals={"files": 2}) == first
    assert commit(dataset, *entries, replace=True) == first
    assert stamps(dataset.root) == before


@pytest.mark.parametrize("changed", [{"fingerprint": "other"}, {"schema": "other"}])
def test_another_fingerprint_or_schema_drops_the_old_shards(dataset, changed):
    commit(dataset, shard(dataset, 0), shard(dataset, 1))
    head = commit(dataset, shard(dataset, 1, "again"), **changed)
    assert [entry.number for entry in head.shards] == [1]
    assert shown(dataset) == {"000001.tar": b"shard 1 again"}


def test_replace_keeps_exactly_the_given_shards(dataset):
    commit(dataset, shard(dataset, 0), shard(dataset, 1))
    assert [entry.number for entry in commit(dataset, shard(dataset, 1), replace=True).shards] == [1]


def test_totals_stay_until_new_ones_are_given(dataset):
    commit(dataset, shard(dataset, 0), totals={"files": 3})
    assert commit(dataset, shard(dataset, 1)).totals == {"files": 3}
    assert commit(dataset, totals={"files": 4}).totals == {"files": 4}


def test_a_partition_without_shards_is_a_revision_too(dataset):
    head = commit(dataset, totals={"files": 2})
    assert (head.revision, head.shards, head.samples) == (1, (), 0)
    assert not dataset.data(DAY).exists()


# --------------------------------------------------------------------------- what is refused


def test_a_missing_or_cut_object_is_refused_before_anything_is_visible(dataset):
    entry = shard(dataset, 0)
    file = dataclasses.replace(entry.files[0], nbytes=entry.files[0].nbytes + 1)
    with pytest.raises(StoreError, match=r"shard 0 names 000000.tar.*mmpipe verify"):
        commit(dataset, dataclasses.replace(entry, files=(file,)))
    dataset.object(entry.files[0].sha256).unlink()
    with pytest.raises(StoreError, match=r"shard 0 names 000000\.tar"):
        commit(dataset, entry)
    assert read_head(dataset, DAY) is None
    assert not dataset.data(DAY).exists()


def test_a_shard_under_a_wrong_number_and_two_files_of_one_name_are_refused(dataset):
    entry = shard(dataset, 0)
    with pytest.raises(StoreError, match="cannot be committed as number 1"):
        commit_partition(dataset, DAY, schema="s", fingerprint="f", shards={1: entry})
    with pytest.raises(StoreError, match="same name"):
        commit(dataset, entry, dataclasses.replace(shard(dataset, 1), files=entry.files))


@pytest.mark.parametrize("revision", [1, 2])
def test_a_head_is_read_and_followed_also_where_an_older_revision_is_gone(dataset, revision):
    for number in range(3):
        head = commit(dataset, shard(dataset, number))
    (dataset.meta(DAY) / f"{revision:06d}.json").unlink()
    assert read_head(dataset, DAY) == head
    assert commit(dataset, shard(dataset, 3)).parent == head.digest()
    assert list_revisions(dataset, DAY)[-1] == 4


def test_a_head_is_read_also_where_its_parent_changed(dataset):
    commit(dataset, shard(dataset, 0))
    head = commit(dataset, shard(dataset, 1))
    parent = dataset.meta(DAY) / "000001.json"
    changed = dataclasses.replace(read_manifest(dataset, DAY, 1), fingerprint="forged").to_bytes()
    parent.chmod(0o644)
    parent.write_bytes(changed)
    assert read_head(dataset, DAY) == head  # the chain is the matter of verify


def test_every_flipped_bit_of_the_head_is_found(dataset):
    commit(dataset, shard(dataset, 0), totals={"files": 1})
    path = dataset.meta(DAY) / "000001.json"
    path.chmod(0o644)
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(StoreError):
            read_head(dataset, DAY)


def test_a_manifest_of_another_place_is_refused(dataset):
    commit(dataset, shard(dataset, 0))
    other = dataset.meta("2026-11-21")
    other.mkdir()
    (other / "000001.json").write_bytes((dataset.meta(DAY) / "000001.json").read_bytes())
    with pytest.raises(StoreError, match="another place"):
        read_head(dataset, "2026-11-21")


# --------------------------------------------------------------------------- races


def test_who_planned_on_an_older_revision_joins_what_lies_beside(dataset):
    commit(dataset, shard(dataset, 0))
    commit(dataset, shard(dataset, 1))
    head = commit(dataset, shard(dataset, 2), base_revision=1)
    assert (head.revision, [entry.number for entry in head.shards]) == (3, [0, 1, 2])


def test_who_planned_on_an_older_revision_does_not_undo_what_came_since(dataset):
    commit(dataset, shard(dataset, 0))
    theirs = commit(dataset, shard(dataset, 0, "theirs"), shard(dataset, 1, "theirs"))
    for options in ({}, {"replace": True}, {"fingerprint": "other"}):
        with pytest.raises(
            TransientError, match=r"talk/audio-logmel@1 dt=2026-11-20: revision 2 .* run the same again"
        ):
            commit(dataset, shard(dataset, 1, "ours"), base_revision=1, **options)
    with pytest.raises(TransientError):
        commit(dataset, shard(dataset, 1, "ours"), base_revision=0)
    assert read_head(dataset, DAY) == theirs
    assert shown(dataset)["000001.tar"] == b"shard 1 theirs"


def test_who_lost_to_the_same_content_is_done(dataset):
    ours = shard(dataset, 0)
    theirs = commit(dataset, ours)
    assert commit(dataset, ours, base_revision=0) == theirs


def test_who_loses_six_races_in_a_row_exits_75_and_nothing_is_lost(dataset, monkeypatch):
    """Each time, somebody else links the next manifest between the look at the head and the link."""
    link, winners = commit_module._link_manifest, []

    def lose(into, manifest):
        if len(winners) < lost:
            winners.append(shard(dataset, 10 + len(winners)))
            monkeypatch.setattr(commit_module, "_link_manifest", link)
            commit(dataset, winners[-1])
            monkeypatch.setattr(commit_module, "_link_manifest", lose)
        return link(into, manifest)

    mine, lost = shard(dataset, 0), 6
    put_receipt(dataset, DAY, "f", Receipt(entry=mine))
    monkeypatch.setattr(commit_module, "_link_manifest", lose)
    with pytest.raises(TransientError, match=r"lost 6 races .* Nothing is lost: run again") as caught:
        commit(dataset, mine)
    assert caught.value.exit_code == 75
    assert [entry.number for entry in read_head(dataset, DAY).shards] == [10, 11, 12, 13, 14, 15]
    assert len(shown(dataset)) == 6
    assert read_receipt(dataset, DAY, "f", 0, mine.inputs) == Receipt(entry=mine)  # the work is not done twice
    lost = 11  # five more, and the sixth try wins
    head = commit(dataset, mine)
    assert (head.revision, [entry.number for entry in head.shards]) == (12, [0, *range(10, 21)])
    assert read_receipt(dataset, DAY, "f", 0, mine.inputs) is None
    assert not [path for path in dataset.staging.iterdir() if path.is_file()]


def test_totals_of_a_lost_race_are_not_undone(dataset):
    commit(dataset, shard(dataset, 0), totals={"files": 1})
    commit(dataset, totals={"files": 2})
    with pytest.raises(TransientError, match="totals"):
        commit(dataset, shard(dataset, 1), totals={"files": 9}, base_revision=1)


def test_a_commit_that_landed_and_reported_failure_is_recognised(crash_server, fast_path, tree_digest):
    """The put landed, the answer was an error: run again, it must know its own commit and delete nothing."""
    assert crash_server.run("extract", fast_path / "whole") == 0
    recognised = 0
    for point in range(1, 40):
        store = fast_path / f"store-{point}"
        if crash_server.run("extract", store, fault=f"linked:{point}:EIO") == 0:
            break
        if crash_server.error().endswith(".json'") and "_meta" in crash_server.error():
            recognised += 1
            before = len(list(store.glob("*/*/_meta/*/*")))
            assert crash_server.run("extract", store) == 0, crash_server.error()
            assert before >= 1
        assert crash_server.run("extract", store) == 0, crash_server.error()
        assert tree_digest(store) == tree_digest(fast_path / "whole")
    assert recognised == 4


# --------------------------------------------------------------------------- the view


def test_the_view_shows_the_objects_themselves(dataset):
    head = commit(dataset, shard(dataset, 0))
    assert os.path.samefile(dataset.data(DAY) / "000000.tar", dataset.object(head.shards[0].files[0].sha256))


def test_a_damaged_view_is_healed_and_a_whole_one_is_left_alone(dataset):
    commit(dataset, shard(dataset, 0), shard(dataset, 1))
    expected, folder = shown(dataset), dataset.data(DAY)
    (folder / "000000.tar").unlink()
    (folder / "000001.tar").unlink()
    (folder / "000001.tar").write_bytes(b"somebody else's")
    (folder / "000009.tar").write_bytes(b"stale")
    (folder / ".000001.tar.tmp").write_bytes(b"left over")
    (folder / "link.parquet").symlink_to("/etc/hostname")
    assert heal_view(dataset, DAY)
    assert shown(dataset) == expected
    before = stamps(dataset.root.parent.parent)
    assert not heal_view(dataset, DAY)
    assert stamps(dataset.root.parent.parent) == before


def test_a_commit_of_what_is_there_heals_the_view(dataset):
    entry = shard(dataset, 0)
    commit(dataset, entry)
    (dataset.data(DAY) / "000000.tar").unlink()
    commit(dataset, entry)
    assert shown(dataset) == {"000000.tar": b"shard 0 "}


def test_the_view_cannot_be_written_through(dataset):
    commit(dataset, shard(dataset, 0))
    assert (dataset.data(DAY) / "000000.tar").stat().st_mode & 0o222 == 0


def test_other_tools_read_the_view_between_two_revisions(dataset):
    for values in ([1, 2], [3, 4]):
        staged = dataset.staging / "table.parquet"
        pq.write_table(pa.table({"value": values}), staged)
        sha256, nbytes = put_bytes(dataset, staged.read_bytes())
        staged.unlink()
        file = FileEntry(role="data", name="000000.parquet", nbytes=nbytes, sha256=sha256)
        commit(dataset, ShardEntry(number=0, files=(file,), samples=2, inputs="", spine=2))
        assert pl.scan_parquet(dataset.root / "data").collect()["value"].to_list() == values


def test_a_missing_object_is_named_when_healing(dataset):
    head = commit(dataset, shard(dataset, 0))
    dataset.object(head.shards[0].files[0].sha256).unlink()
    with pytest.raises(StoreError, match=r"000000\.tar"):
        heal_view(dataset, DAY)


def test_receipts_go_with_the_commit_that_names_their_shards(dataset):
    done, waiting = shard(dataset, 0), shard(dataset, 1)
    for entry in (done, waiting):
        put_receipt(dataset, DAY, "f", Receipt(entry=entry))
    commit(dataset, done)
    assert read_receipt(dataset, DAY, "f", 0, done.inputs) is None
    assert read_receipt(dataset, DAY, "f", 1, waiting.inputs) == Receipt(entry=waiting)
