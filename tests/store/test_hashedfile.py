from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mmpipe.store.hashedfile import HashedFile


@pytest.mark.parametrize(
    "sizes", [(), (0, 1, 0), (200_000, 62_144, 1), (262_144, 262_145, 3), (5, 3_000_000, 7, 262_140)]
)
def test_parts_of_any_size_follow_each_other(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    file = HashedFile(tmp_path / "new")
    parts = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
    for part in parts:
        scratch = bytearray(part)
        file.append(memoryview(scratch))
        scratch[:] = bytes(len(scratch))  # it is the caller's again
    assert file.position == sum(sizes)
    assert file.finish() == hashlib.sha256(b"".join(parts)).hexdigest()
    assert (tmp_path / "new").read_bytes() == b"".join(parts)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        HashedFile(tmp_path / "taken")
