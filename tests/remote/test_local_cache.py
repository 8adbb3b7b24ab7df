"""Copies of remote objects on this machine: whole, bounded, fetched once, never of bytes that are gone."""

from __future__ import annotations

import os

import pytest

from mmpipe import cache
from mmpipe.cache import shrink_cache
from mmpipe.errors import ConfigError
from mmpipe.io import local_file, remove_file, replace_durable, write_durable


def copies(folder) -> list:
    return sorted(path for path in (folder / "objects").glob("*/*") if path.is_file())


def test_copy_is_fetched_once(memory_root, cache_folder, monkeypatch):
    write_durable(memory_root / "a", b"bytes")
    assert local_file(memory_root / "a").read_bytes() == b"bytes"
    monkeypatch.setattr(cache, "download", None)  # would fail
    assert local_file(memory_root / "a").read_bytes() == b"bytes"
    assert len(copies(cache_folder)) == 1


def test_bytes_that_were_made_anew_are_fetched_anew(s3_root, cache_folder):
    write_durable(s3_root / "a", b"bytes")
    assert local_file(s3_root / "a").read_bytes() == b"bytes"
    replace_durable(s3_root / "a", b"other", s3_root)
    assert local_file(s3_root / "a").read_bytes() == b"other"


def test_removed_object_has_no_copy(s3_root, cache_folder):
    write_durable(s3_root / "a", b"bytes")
    local_file(s3_root / "a")
    remove_file(s3_root / "a")
    assert copies(cache_folder) == []
    with pytest.raises(FileNotFoundError):
        local_file(s3_root / "a")


def test_broken_download_leaves_nothing(memory_root, cache_folder, monkeypatch):
    write_durable(memory_root / "a", b"bytes")

    def cut(path, target):
        target.write_bytes(b"by")
        raise OSError("cut")

    monkeypatch.setattr(cache, "download", cut)
    with pytest.raises(OSError, match="cut"):
        local_file(memory_root / "a")
    assert copies(cache_folder) == []


def test_oldest_copies_go_first(memory_root, cache_folder, monkeypatch):
    monkeypatch.setenv("MMPIPE_CACHE_BYTES", "250")
    paths = []
    for number in range(3):
        write_durable(memory_root / str(number), bytes(100))
        paths.append(local_file(memory_root / str(number)))
        os.utime(paths[-1], (1000 + number, 1000 + number))
    assert shrink_cache() == 200
    assert [path.exists() for path in paths] == [False, True, True]


def test_copies_in_use_stay(memory_root, cache_folder, monkeypatch):
    monkeypatch.setenv("MMPIPE_CACHE_BYTES", "1")
    for number in range(2):
        write_durable(memory_root / str(number), bytes(100))
        local_file(memory_root / str(number))
    assert len(copies(cache_folder)) == 2


def test_bound_is_a_number(memory_root, cache_folder, monkeypatch):
    monkeypatch.setenv("MMPIPE_CACHE_BYTES", "50GB")
    write_durable(memory_root / "a", b"bytes")
    with pytest.raises(ConfigError, match="number of bytes"):
        local_file(memory_root / "a")
