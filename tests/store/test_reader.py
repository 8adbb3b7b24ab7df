from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmpipe.errors import StoreError
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.reader import ShardReader
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store, sample_value
from mmpipe.store.schema import read_schema
from mmpipe.store.shard import ShardSpec
from mmpipe.store.writer import open_shard_writer
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6),
    min_steps=1,
    max_steps=9,
    missing=0.3,
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=16), missing=0.2
)
BOTH = pytest.mark.parametrize("feature", [AUDIO, TEXT], ids=["tar", "vectors"])


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return make_sample_store(tmp_path / "store", [AUDIO, TEXT], shards=2, shard_clips=12)


def shard_of(layout: StoreLayout, feature: SampleFeature, number: int = 0):
    dataset = layout.dataset("sample", feature.schema.feature)
    head = read_head(dataset, DAY)
    assert head is not None
    return dataset, head.shards[number]


def reader_of(layout: StoreLayout, feature: SampleFeature, verify: bool = True) -> ShardReader:
    dataset, shard = shard_of(layout, feature)
    reader = ShardReader.open(dataset, shard, feature.schema, verify)
    assert reader is not None
    return reader


def object_of(layout: StoreLayout, feature: SampleFeature, role: str) -> Path:
    dataset, shard = shard_of(layout, feature)
    entry = shard.file(role)
    assert entry is not None
    return dataset.object(entry.sha256)


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(edit(data))


def flip(offset: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


@BOTH
def test_values_and_times_are_what_was_written(layout: StoreLayout, feature: SampleFeature) -> None:
    reader = reader_of(layout, feature)
    assert 0 < len(reader) < 12
    for row, key in enumerate(reader.keys):
        expected, found = sample_value(feature, key), reader.value(row)
        assert expected is not None
        assert np.array_equal(found.array, expected.array)
        assert np.array_equal(reader.times(row), [0] if expected.times_ns is None else expected.times_ns)
        flat = reader.numbers()[reader.starts[row] :][: expected.array.size]
        assert np.array_equal(flat, expected.array.ravel())
        assert reader.lengths_T[row] == (len(expected.array) if expected.array.ndim == 2 else 1)
    assert reader.fingerprint == FINGERPRINT
    assert reader.schema == read_schema(layout.dataset("sample", feature.schema.feature))


@BOTH
def test_values_cannot_be_written_through(layout: StoreLayout, feature: SampleFeature) -> None:
    with pytest.raises(ValueError, match="read-only"):
        reader_of(layout, feature).value(0).array[...] = 0


def test_tar_is_verified_when_first_touched(layout: StoreLayout) -> None:
    reader = reader_of(layout, AUDIO)
    change(object_of(layout, AUDIO, "data"), flip(700))
    assert reader.keys
    with pytest.raises(StoreError, match=r"objects.*damaged.*mmpipe verify"):
        reader.value(0)


def test_file_changed_after_it_was_verified_is_verified_anew(layout: StoreLayout) -> None:
    reader_of(layout, AUDIO).value(0)
    change(object_of(layout, AUDIO, "data"), flip(700))
    with pytest.raises(StoreError, match="damaged"):
        reader_of(layout, AUDIO).value(0)


def test_unverified_reading_takes_what_is_there(layout: StoreLayout) -> None:
    path = object_of(layout, AUDIO, "data")
    whole = reader_of(layout, AUDIO)
    change(path, flip(int(whole.offsets[0])))
    key = whole.keys[0]
    expected = sample_value(AUDIO, key)
    assert expected is not None
    assert not np.array_equal(reader_of(layout, AUDIO, verify=False).value(0).array, expected.array)


@pytest.mark.parametrize(
    ("feature", "role"), [(AUDIO, "data"), (AUDIO, "index"), (TEXT, "data")], ids=["tar", "index", "vectors"]
)
@pytest.mark.parametrize("edit", [flip(650), lambda data: data[:-512], lambda data: data + b"\0"])
def test_damage_names_the_file_and_the_way_out(layout: StoreLayout, feature: SampleFeature, role: str, edit) -> None:
    path = object_of(layout, feature, role)
    change(path, edit)
    with pytest.raises(StoreError, match="mmpipe verify") as caught:
        reader_of(layout, feature).value(0)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("feature", "role"), [(AUDIO, "data"), (AUDIO, "index"), (TEXT, "data")], ids=["tar", "index", "vectors"]
)
def test_missing_file_is_named(layout: StoreLayout, feature: SampleFeature, role: str) -> None:
    path = object_of(layout, feature, role)
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name} is missing"):
        reader_of(layout, feature).value(0)


def test_index_of_another_tar_is_refused(layout: StoreLayout) -> None:
    dataset, first = shard_of(layout, AUDIO, 0)
    _, second = shard_of(layout, AUDIO, 1)
    mixed = replace(first, files=(second.files[0], first.files[1]))
    with pytest.raises(StoreError, match="index of another tar"):
        ShardReader.open(dataset, mixed, AUDIO.schema)


def test_shard_under_another_number_is_refused(layout: StoreLayout) -> None:
    dataset, first = shard_of(layout, TEXT, 0)
    with pytest.raises(StoreError, match="shard 0"):
        ShardReader.open(dataset, replace(first, number=1), TEXT.schema)


def test_wrong_count_is_refused(layout: StoreLayout) -> None:
    dataset, first = shard_of(layout, TEXT, 0)
    fewer = replace(first, samples=first.samples - 1, absent=first.absent + 1)
    with pytest.raises(StoreError, match="its manifest says"):
        ShardReader.open(dataset, fewer, TEXT.schema)


def test_shard_without_values_has_no_reader(layout: StoreLayout) -> None:
    dataset, first = shard_of(layout, TEXT, 0)
    assert ShardReader.open(dataset, replace(first, files=(), samples=0, absent=12), TEXT.schema) is None


@BOTH
def test_value_can_be_reused_by_another_shard(layout: StoreLayout, feature: SampleFeature, tmp_path: Path) -> None:
    reader = reader_of(layout, feature)
    spec = ShardSpec(corpus="sample", partition=DAY, number=0, schema=feature.schema, fingerprint=FINGERPRINT)
    with open_shard_writer(spec, tmp_path) as writer:
        for row, key in enumerate(reader.keys):
            ranges = (int(reader.starts_ns[row]), int(reader.ends_ns[row]))
            writer.add_raw(key, int(reader.ordinals[row]), reader.streams[row], *ranges, reader.raw(row))
        staged = writer.close()
    _, shard = shard_of(layout, feature)
    assert tuple(file.entry for file in staged.files) == shard.files
    assert staged.statistics == shard.statistics
