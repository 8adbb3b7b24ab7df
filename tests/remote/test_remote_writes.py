"""Conditional writes, leases and commits of an object store: one wins, nothing is lost, a lost answer is recognised."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from mmpipe import remote
from mmpipe.errors import ConfigError, TransientError
from mmpipe.io import (
    list_names,
    put_if_absent,
    read_range,
    remove_file,
    replace_durable,
    replace_with_link,
    require_writable,
    write_durable,
)
from mmpipe.remote import client
from mmpipe.store.commit import commit_partition, list_revisions, read_head
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.store.lease import Lease, find_holder
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import put_bytes

DAY = "2026-11-20"


@pytest.fixture(params=["s3", "memory"])
def root(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_root")


def staged(folder: Path, data: bytes) -> Path:
    path = folder / f"staged-{len(list(folder.iterdir()))}"
    path.write_bytes(data)
    return path


class Fake:
    """A real file system with a door that fails."""

    def __init__(self, system, **doors) -> None:
        self._system, self._doors = system, doors

    def __getattr__(self, name: str):
        return self._doors.get(name) or getattr(self._system, name)


def put_behind(monkeypatch: pytest.MonkeyPatch, root: Path, **doors) -> None:
    """Put the doors before the file system of a root."""
    system = client.file_system(root)
    monkeypatch.setattr(client, "file_system", lambda path: Fake(system, **doors))


def test_one_creator_of_a_name_wins(root, tmp_path):
    assert put_if_absent(staged(tmp_path, b"first"), root / "name")
    assert not put_if_absent(staged(tmp_path, b"second"), root / "name")
    assert (root / "name").read_bytes() == b"first"
    with pytest.raises(FileExistsError):
        write_durable(root / "name", b"third")


def test_race_between_look_and_put_is_lost(root, tmp_path, monkeypatch):
    write_durable(root / "name", b"other")
    looks = iter([False, True])
    monkeypatch.setattr(remote.RemotePath, "is_file", lambda self: next(looks))
    assert not put_if_absent(staged(tmp_path, b"mine"), root / "name")
    assert (root / "name").read_bytes() == b"other"


def test_put_that_landed_but_reported_failure_is_ours(root, tmp_path, monkeypatch):
    system = client.file_system(root)

    def land_and_fail(*args, **options):
        system.put_file(*args, **options)
        raise TimeoutError("no answer")

    put_behind(monkeypatch, root, put_file=land_and_fail)
    assert put_if_absent(staged(tmp_path, b"mine"), root / "name")
    assert (root / "name").read_bytes() == b"mine"


def test_put_that_never_landed_says_run_again(root, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise TimeoutError("no answer")

    put_behind(monkeypatch, root, put_file=fail)
    with pytest.raises(TransientError, match="run again"):
        put_if_absent(staged(tmp_path, b"mine"), root / "name")
    assert not (root / "name").exists()


def test_store_without_conditions_is_refused(root, monkeypatch):
    require_writable(root)
    assert list_names(root) == []  # the probe is gone
    system = client.file_system(root)

    def careless(path, data, mode="overwrite", **condition):
        system.pipe_file(path, data)

    put_behind(monkeypatch, root, pipe_file=careless)
    with pytest.raises(ConfigError, match="If-None-Match"):
        require_writable(root)


def test_bucket_that_is_not_there_is_named(s3_root):
    with pytest.raises(ConfigError, match="Does the bucket exist"):
        create_store(remote.store_path("s3://no-such-bucket/store"))


def test_missing_client_is_named(monkeypatch):
    import fsspec

    def missing(protocol, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(ConfigError, match=r"mmpipe\[s3\]"):
        remote.store_path("s3://bucket/store").exists()


def test_names_are_listed_afresh(root):
    assert list_names(root / "folder") == []
    write_durable(root / "folder" / "a", b"1")
    write_durable(root / "folder" / "below" / "b", b"2")
    assert list_names(root / "folder") == ["a", "below"]
    assert list_names(root / "folder", folders=False) == ["a"]
    assert [str(path.relative_to(root)) for path in root.glob("*/below/*")] == ["folder/below/b"]
    remove_file(root / "folder" / "a")
    assert list_names(root / "folder") == ["below"]
    assert (root / "folder").is_dir() and not (root / "folder" / "a").exists()


def test_view_shows_a_copy_once(root, tmp_path):
    put_if_absent(staged(tmp_path, b"bytes"), root / "objects" / "a")
    assert replace_with_link(root / "objects" / "a", root / "data" / "a", tmp_path)
    assert not replace_with_link(root / "objects" / "a", root / "data" / "a", tmp_path)
    replace_durable(root / "data" / "a", b"other", tmp_path / "unused")
    assert replace_with_link(root / "objects" / "a", root / "data" / "a", tmp_path)
    assert (root / "data" / "a").read_bytes() == b"bytes"


def test_swap_needs_the_stamp_that_was_read(root):
    write_durable(root / "name", b"1")
    _, stamp = remote.read_stamped(root / "name")
    assert remote.swap(root / "name", b"2", stamp)
    assert not remote.swap(root / "name", b"3", stamp)
    assert not remote.swap(root / "nothing", b"3", stamp)
    assert (root / "name").read_bytes() == b"2"


def test_range_is_read_without_the_rest(root):
    write_durable(root / "name", bytes(range(100)))
    assert read_range(root / "name", 40, 3) == bytes([40, 41, 42])
    assert read_range(root / "name", 40, 0) == b""


# --------------------------------------------------------------------------- leases


def test_lease_has_one_holder(root):
    layout = create_store(root)
    with Lease.acquire(layout, "talk") as lease:
        lease.check()
        assert "process" in find_holder(layout, "talk")
        with pytest.raises(TransientError, match="is being worked on by"):
            Lease.acquire(layout, "talk")
    assert find_holder(layout, "talk") == ""
    with Lease.acquire(layout, "talk"):
        pass


def test_dead_holder_elsewhere_is_replaced_after_its_time(root):
    layout = create_store(root)
    record = b'{"beats": 1, "holder": {"host": "far", "nonce": "n", "pid": 1, "since": "s", "started": 1}}'
    write_durable(layout.leases / "talk.json", record)
    with pytest.raises(TransientError, match="far"):
        Lease.acquire(layout, "talk", ttl_s=3600)
    with Lease.acquire(layout, "talk", ttl_s=-1):
        pass


def test_dead_holder_here_is_replaced_at_once(root):
    layout = create_store(root)
    with Lease.acquire(layout, "talk"):
        record = json.loads((layout.leases / "talk.json").read_bytes())
    record["holder"]["started"] += 1  # the pid means another process now
    replace_durable(layout.leases / "talk.json", json.dumps(record).encode(), root)
    with Lease.acquire(layout, "talk", ttl_s=3600):
        pass


def test_lost_lease_is_noticed_and_left_alone(root):
    layout = create_store(root)
    lease = Lease.acquire(layout, "talk")
    replace_durable(layout.leases / "talk.json", b'{"beats": 0, "holder": null}', root)
    with pytest.raises(TransientError, match="taken over"):
        lease.check()
    with Lease.acquire(layout, "talk") as other:
        lease.release()
        other.check()


def test_heart_beats(root):
    layout = create_store(root)
    with Lease.acquire(layout, "talk", ttl_s=0.2) as lease:
        before = (layout.leases / "talk.json").read_bytes()
        give_up_s = time.monotonic() + 20
        while (layout.leases / "talk.json").read_bytes() == before:
            assert time.monotonic() < give_up_s
        lease.check()


# --------------------------------------------------------------------------- commits


def commit_rounds(url: str, writer: int, rounds: int) -> None:
    """Commit a shard of one's own in each round, beside other writers."""
    dataset = StoreLayout(remote.store_path(url)).dataset("talks", "toy@1")
    for number in range(rounds):
        data = f"{writer} {number}".encode()
        sha256, nbytes = put_bytes(dataset, data)
        place = writer * rounds + number
        file = FileEntry(role="data", name=f"{place:06d}.parquet", nbytes=nbytes, sha256=sha256)
        entry = ShardEntry(number=place, files=(file,), samples=1, inputs=str(place), spine=1)
        while True:
            try:
                commit_partition(dataset, DAY, schema="s", fingerprint="f", shards={place: entry}, base_revision=None)
                break
            except TransientError:
                continue


def test_concurrent_writers_lose_nothing(s3_root):
    create_store(s3_root)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=commit_rounds, args=(str(s3_root), number, 3)) for number in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0
    dataset = StoreLayout(s3_root).dataset("talks", "toy@1")
    head = read_head(dataset, DAY)
    assert head is not None
    assert [shard.number for shard in head.shards] == list(range(9))
    assert list_revisions(dataset, DAY) == tuple(range(1, 10))
    assert list_names(dataset.data(DAY)) == [f"{number:06d}.parquet" for number in range(9)]
