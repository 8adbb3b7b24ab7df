from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmpipe.io import remove_file
from mmpipe.store import decoded, reader
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.reader import ShardReader
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

TEXT = FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=5, dtype="float16")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "LEAST_BYTES", 1)
    return tmp_path / "cache"


@pytest.fixture
def shard(tmp_path: Path, cache: Path) -> tuple[DatasetLayout, ShardEntry]:
    layout = make_sample_store(tmp_path / "store", [SampleFeature(schema=TEXT)], shards=1, shard_clips=7)
    dataset = layout.dataset("sample", TEXT.feature)
    head = read_head(dataset, "2026-11-20")
    assert head is not None
    return dataset, head.shards[0]


def numbers_of(shard: tuple[DatasetLayout, ShardEntry], verify: bool = True) -> np.ndarray:
    dataset, entry = shard
    opened = ShardReader.open(dataset, entry, TEXT, verify)
    assert opened is not None
    return opened.numbers()


def files_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_only_the_first_reader_decodes(
    shard: tuple[DatasetLayout, ShardEntry], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = numbers_of(shard)
    assert [path.name for path in files_in(cache)] == [shard[1].files[0].sha256]
    monkeypatch.setattr(reader, "_flat", None)
    for verify in (True, False):
        second = numbers_of(shard, verify)
        assert np.array_equal(first, second) and second.dtype == first.dtype and not second.flags.writeable


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other"])
def test_a_damaged_file_is_made_anew(shard: tuple[DatasetLayout, ShardEntry], cache: Path, damage: str) -> None:
    first = numbers_of(shard)
    [path] = files_in(cache)
    whole = path.read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    path.write_bytes({"flipped": flipped, "cut": whole[:-1], "empty": b"", "other": b"x" * len(whole)}[damage])
    assert np.array_equal(numbers_of(shard), first)
    assert path.read_bytes() == whole and files_in(cache) == [path]


def test_where_nothing_can_be_kept_the_vectors_are_decoded(
    shard: tuple[DatasetLayout, ShardEntry], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = numbers_of(shard)
    monkeypatch.setenv("MMPIPE_CACHE", str(files_in(cache)[0]))  # a file, where a folder should be
    assert np.array_equal(numbers_of(shard), first)
    monkeypatch.setenv("MMPIPE_CACHE", str(cache.with_name("small")))
    monkeypatch.setenv("MMPIPE_CACHE_BYTES", "10")
    assert np.array_equal(numbers_of(shard), first) and not files_in(cache.with_name("small"))


def test_it_goes_with_its_object(shard: tuple[DatasetLayout, ShardEntry], cache: Path) -> None:
    numbers_of(shard)
    dataset, entry = shard
    remove_file(dataset.object(entry.files[0].sha256))
    assert files_in(cache) == []


def test_small_shards_are_not_kept(
    shard: tuple[DatasetLayout, ShardEntry], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "LEAST_BYTES", 1 << 20)
    numbers_of(shard)
    assert files_in(cache) == []
