"""Archives as others make them: read as tarfile reads them where they are whole, refused where they are not."""

from __future__ import annotations

import gzip
import io
import tarfile
import time

import pyarrow as pa
import pytest

from mmpipe.errors import SampleError
from mmpipe.sources.tar import TarReader

MANY = 1 << 40


def pack(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes, name: str = "a.tar", max_bytes: int = MANY) -> dict[bytes, bytes]:
    reader = TarReader(io.BytesIO(data), name, max_bytes)
    found = {member.name: b"".join(reader.chunks()) for member in reader.members() if member.kind == "file"}
    assert reader.is_whole
    return found


MEMBERS = {"a.wav": b"1", "deep/b.txt": b"x" * 512, "ü/" + "long" * 60 + ".json": b"y" * 70_000, "empty.txt": b""}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(form):
    members = MEMBERS if form != tarfile.USTAR_FORMAT else {"a" * 60 + "/" + "b" * 90: b"1", "c": b"2"}
    assert unpack(pack(members, form)) == {name.encode(): data for name, data in members.items()}


def test_packed_archives_are_read():
    data = pack(MEMBERS)
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    expected = {name.encode(): data for name, data in MEMBERS.items()}
    assert unpack(gzip.compress(data), "a.tar.gz") == expected
    assert unpack(gzip.compress(data[:512]) + gzip.compress(data[512:]), "a.tgz") == expected
    assert unpack(packed.getvalue().to_pybytes(), "a.tar.zst") == expected


def test_a_member_that_is_not_asked_for_is_skipped():
    reader = TarReader(io.BytesIO(pack(MEMBERS)), "a.tar", MANY)
    assert [member.name for member in reader.members()] == [name.encode() for name in MEMBERS]


def test_links_and_devices_are_told_apart_from_files():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"Z"):
            info = tarfile.TarInfo("x")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    kinds = [member.kind for member in TarReader(io.BytesIO(buffer.getvalue()), "a.tar", MANY).members()]
    assert kinds == ["symbolic link", "hard link", "device", "FIFO", "folder", "member of an unknown kind"]


def corrupted(data: bytes, place: int, value: bytes) -> bytes:
    """Change a header and mend its sum."""
    header = bytearray(data[:512])
    header[place : place + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF" + bytes(600),
        pack({"a": b"1" * 2000})[:1500],
        pack({"a": b"1"})[:300],
        corrupted(pack({"a": b"1"}), 124, b"\xff" * 12),  # a negative size: tarfile followed it backward
        corrupted(pack({"a": b"1"}), 124, b"99999999999\0"),
        corrupted(pack({"a": b"1"}), 124, b"77777777777\0"),
        corrupted(pack({"a": b"nonsense"}), 156, b"x"),
        corrupted(pack({"a": b"20 size=-1000000000\n"}), 156, b"x"),
    ],
)
def test_broken_archives_are_refused(data):
    with pytest.raises(SampleError, match="archive_damaged"):
        unpack(data)


def test_an_archive_without_an_end_is_not_whole():
    reader = TarReader(io.BytesIO(pack({"a": b"1"})[:1024]), "a.tar", MANY)
    assert [member.name for member in reader.members()] == [b"a"]
    assert not reader.is_whole


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(512 * 20)])
def test_archives_that_follow_one_another_are_all_read(between: bytes) -> None:
    second = {"c.wav": b"3" * 700, "long/" + "n" * 150 + ".wav": b"4"}
    joined = pack(MEMBERS) + between + pack(second)
    expected = {name.encode(): data for name, data in (MEMBERS | second).items()}
    assert unpack(joined) == expected
    assert unpack(gzip.compress(pack(MEMBERS)) + gzip.compress(pack(second)), "a.tar.gz") == expected
    cut = TarReader(io.BytesIO(joined[: len(pack(MEMBERS)) + len(between) + 1000]), "a.tar", MANY)
    with pytest.raises(SampleError, match="archive_damaged"):
        list(cut.members())
    assert not cut.is_whole


@pytest.mark.parametrize("tail", [b"x", b"not an archive" * 100, bytes(511) + b"x", bytes(700) + b"\x01"])
def test_what_follows_an_archive_and_is_none_is_told(tail: bytes) -> None:
    reader, found = TarReader(io.BytesIO(pack(MEMBERS) + tail), "a.tar", MANY), []
    with pytest.raises(SampleError, match="bytes after its end that are no archive"):
        for member in reader.members():
            found.append(member.name)
    assert found == [name.encode() for name in MEMBERS]


def test_an_archive_padded_with_zeros_is_whole() -> None:
    assert unpack(pack({"a": b"1"}) + bytes(1000)) == {b"a": b"1"}


def test_bombs_are_refused_soon():
    bomb = gzip.compress(pack({"a": bytes(100 << 20)}), 1)
    huge_header = corrupted(pack({"a": b"1"}), 156, b"L")[:512]
    huge_header = corrupted(huge_header, 124, b"77777777777\0")
    started = time.monotonic()
    for data, name, most in ((bomb, "a.tar.gz", MANY), (bomb, "a.tar.gz", 10 << 20), (huge_header, "a.tar", MANY)):
        with pytest.raises(SampleError, match="limit_archive"):
            unpack(data, name, most)
    many = b"".join(b"7 a=bc\n" for _ in range(140_000))
    assert unpack(corrupted(pack({"a": many}), 156, b"x")) == {}
    assert time.monotonic() - started < 3


def test_broken_packing_is_refused():
    packed = bytearray(gzip.compress(pack(MEMBERS)))
    packed[len(packed) // 2] ^= 255
    for data in (bytes(packed), gzip.compress(pack(MEMBERS))[:-20], b"no gzip at all"):
        with pytest.raises(SampleError, match="archive_damaged"):
            unpack(data, "a.tar.gz")
    with pytest.raises(SampleError, match="archive_damaged"):
        unpack(b"no zstd at all", "a.tar.zst")
