"""Large objects of a bucket: sent in parts, there whole or not at all, and nothing is left of a failed one."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from mmpipe import remote
from mmpipe.errors import TransientError
from mmpipe.io import local_file, put_if_absent, read_range, replace_with_link, sha256_file
from mmpipe.remote import objects

PART = 5 << 20  # the least that S3 takes
DATA = random.Random(7).randbytes(2 * PART + 12_345)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(objects, "PART_BYTES", PART)
    (tmp_path / "source").write_bytes(DATA)
    return tmp_path / "source"


def meet_at(monkeypatch: pytest.MonkeyPatch, method: str, meet) -> None:
    """Do something each time just before the server is asked for this."""
    import s3fs

    real = s3fs.S3FileSystem._call_s3

    async def call(self, name: str, *args, **options):
        if name == method:
            await meet(self, real, options)
        return await real(self, name, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)


def test_object_in_parts_has_the_bytes(s3_root, source, tmp_path, monkeypatch) -> None:
    target, shown = s3_root / "objects" / "large", s3_root / "data" / "large"
    assert put_if_absent(source, target)
    assert target.stat().etag.strip('"').endswith("-3")
    assert not put_if_absent(source, target)
    assert sha256_file(target) == hashlib.sha256(DATA).hexdigest()
    assert read_range(target, PART - 10, 20) == DATA[PART - 10 : PART + 10]
    assert read_range(target, len(DATA) - 5, 5) == DATA[-5:]
    assert local_file(target).read_bytes() == DATA
    assert replace_with_link(target, shown, tmp_path)
    monkeypatch.setattr(objects, "sha256_remote", None)  # would fail: nobody reads it to know it again
    assert not replace_with_link(target, shown, tmp_path)
    remote.make_young(target, younger_than_s=-1)
    assert not replace_with_link(target, shown, tmp_path)
    monkeypatch.undo()
    assert shown.read_bytes() == target.read_bytes() == DATA
    assert not list(remote.list_uploads(s3_root))


def test_failed_part_leaves_nothing(s3_root, source, monkeypatch) -> None:
    async def fail(system, real, options) -> None:
        if options["PartNumber"] == 2:
            raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        meet_at(patch, "upload_part", fail)
        with pytest.raises(TransientError, match="run again"):
            put_if_absent(source, s3_root / "large")
    assert not (s3_root / "large").exists()
    assert not list(remote.list_uploads(s3_root))
    assert put_if_absent(source, s3_root / "large")


def test_name_taken_while_parts_are_sent_is_left_alone(s3_root, source, monkeypatch) -> None:
    bucket, key = s3_root.parts[1], "/".join([*s3_root.parts[2:], "large"])

    async def take(system, real, options) -> None:
        await real(system, "put_object", Bucket=bucket, Key=key, Body=b"first")

    with monkeypatch.context() as patch:
        meet_at(patch, "complete_multipart_upload", take)
        assert not put_if_absent(source, s3_root / "large")
    assert (s3_root / "large").read_bytes() == b"first"
    assert not list(remote.list_uploads(s3_root))


def test_parts_of_a_killed_writer_are_given_up(s3_root, source) -> None:
    system = remote.client.file_system(s3_root)
    bucket, prefix = s3_root.parts[1], "/".join(s3_root.parts[2:])
    for key in (f"{prefix}/objects/cut", "elsewhere/cut"):
        system.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    (upload,) = remote.list_uploads(s3_root)
    assert upload.path == s3_root / "objects" / "cut"
    remote.abort_upload(upload)
    remote.abort_upload(upload)
    assert not list(remote.list_uploads(s3_root))
