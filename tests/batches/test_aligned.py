from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmpipe.batches.aligned import AlignedReader
from mmpipe.errors import ConfigError, StoreError
from mmpipe.store.addresses import AddressRun
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store, sample_value, write_sample_feature
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import plan_spine, read_spine, write_spine
from mmpipe.types import FeatureKind, FeatureSchema, Modality


def feature(name: str, modality: Modality, kind: FeatureKind, dim: int, **shape: float) -> SampleFeature:
    return SampleFeature(schema=FeatureSchema(feature=name, modality=modality, kind=kind, dim=dim), **shape)


VIDEO = feature("video-toy@1", Modality.VIDEO, FeatureKind.SEQUENCE, 8, min_steps=4, max_steps=4)
AUDIO = feature("audio-toy@1", Modality.AUDIO, FeatureKind.SEQUENCE, 3, min_steps=1, max_steps=9, missing=0.4)
TEXT = feature("text-toy@1", Modality.TEXT, FeatureKind.VECTOR, 5, missing=0.3)
FEATURES = {one.schema.feature: one for one in (VIDEO, AUDIO, TEXT)}
DAYS = ("2026-11-19", "2026-11-20")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> StoreLayout:
    """Two days of three shards; on the second day two clips are superseded, and there is no text at all."""
    root = tmp_path_factory.mktemp("aligned") / "store"
    layout = make_sample_store(root, [VIDEO, AUDIO], partitions=DAYS, shards=3, shard_clips=5)
    write_sample_feature(layout, "sample", DAYS[0], read_spine(layout, "sample", [DAYS[0]]), TEXT)
    frame = read_spine(layout, "sample", [DAYS[1]]).drop("partition")
    plan = plan_spine(frame, [], shard_clips=5, superseded=[frame["asset_id"][1], frame["asset_id"][7]])
    write_spine(layout.dataset("sample", CLIPS), DAYS[1], plan)
    return layout


@pytest.fixture(scope="module")
def reader(layout: StoreLayout) -> AlignedReader:
    return AlignedReader(layout, take_snapshot(layout, "sample", list(FEATURES)), list(FEATURES))


def expected_of(reader: AlignedReader, row: int, name: str) -> np.ndarray | None:
    if name == "text-toy@1" and reader.spine["partition"][row] == DAYS[1]:
        return None
    value = sample_value(FEATURES[name], reader.spine["key"][row])
    return value and value.array.reshape(-1, FEATURES[name].schema.dim)


def test_live_rows_in_the_order_of_the_spine(layout: StoreLayout, reader: AlignedReader) -> None:
    live = read_spine(layout, "sample").filter(~pl.col("superseded"))
    assert reader.spine.equals(live)
    assert len(reader) == 28
    assert reader.features == tuple(FEATURES)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 27), max_size=40))
def test_gather_gives_every_clip_its_own_values(reader: AlignedReader, rows: list[int]) -> None:
    batch = reader.gather(np.array(rows, np.int64))
    assert list(batch.keys) == [reader.spine["key"][row] for row in rows]
    assert list(batch.groups) == [reader.spine["group"][row] for row in rows]
    assert batch.labels_B.tolist() == [-1] * len(rows)
    for name, part in batch.features.items():
        assert part.x_BTD.dtype == np.float32
        assert part.x_BTD.flags.c_contiguous
        assert part.mask_BT.dtype == np.bool_
        assert part.x_BTD.shape == (*part.mask_BT.shape, FEATURES[name].schema.dim)
        for x_TD, mask_T, row in zip(part.x_BTD, part.mask_BT, rows, strict=True):
            expected = expected_of(reader, row, name)
            steps = 0 if expected is None else len(expected)
            assert mask_T.tolist() == [True] * steps + [False] * (len(mask_T) - steps)
            assert not x_TD[steps:].any()
            assert expected is None or np.array_equal(x_TD[:steps], expected)


def test_batch_is_as_long_as_its_longest_clip(reader: AlignedReader) -> None:
    lengths_N = reader.lengths("audio-toy@1")
    rows = np.argsort(lengths_N)[-3:]
    assert reader.gather(rows).features["audio-toy@1"].x_BTD.shape[1] == lengths_N.max()
    missing = np.flatnonzero(lengths_N == 0)
    part = reader.gather(missing).features["audio-toy@1"]
    assert part.x_BTD.shape == (len(missing), 1, 3)
    assert not part.mask_BT.any()
    assert not part.x_BTD.any()


def test_one_stretch_and_a_mapping_per_tar_give_the_same(
    layout: StoreLayout, reader: AlignedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AddressRun, "reserve", lambda sizes: None)
    other = AlignedReader(layout, take_snapshot(layout, "sample", list(FEATURES)), list(FEATURES))
    rows = np.arange(len(reader))[::-1]
    for name, part in reader.gather(rows).features.items():
        found = other.gather(rows).features[name]
        assert np.array_equal(part.x_BTD, found.x_BTD) and np.array_equal(part.mask_BT, found.mask_BT)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts the mappings of Linux")
def test_files_are_let_go_with_the_last_value(layout: StoreLayout) -> None:
    def mapped() -> int:
        gc.collect()
        return Path("/proc/self/maps").read_text().count(f"{layout.root}/")

    before, open_before = mapped(), len(os.listdir("/proc/self/fd"))
    mine = AlignedReader(layout, take_snapshot(layout, "sample", ["video-toy@1"]), ["video-toy@1"])
    mine.gather(np.arange(len(mine)))
    value = mine.value(0, "video-toy@1")
    assert value is not None
    assert mapped() == before + 6 and len(os.listdir("/proc/self/fd")) == open_before
    kept = value.array.copy()
    del mine
    assert mapped() == before + 6 and np.array_equal(value.array, kept)
    del value
    assert mapped() == before


def test_labels_follow_their_rows(reader: AlignedReader) -> None:
    labels_N = np.arange(len(reader), dtype=np.int32) * 2
    batch = reader.gather(np.array([5, 2, 27]), labels_N)
    assert batch.labels_B.tolist() == [10, 4, 54]
    assert batch.labels_B.dtype == np.int64


@pytest.mark.parametrize("name", list(FEATURES))
def test_times_and_lengths(reader: AlignedReader, name: str) -> None:
    lengths_N = reader.lengths(name)
    for row in range(len(reader)):
        expected = expected_of(reader, row, name)
        times_ns = reader.times(row, name)
        assert times_ns.dtype == np.int64
        assert len(times_ns) == lengths_N[row] == (0 if expected is None else len(expected))
        value = sample_value(FEATURES[name], reader.spine["key"][row])
        if expected is not None and value is not None and value.times_ns is not None:
            assert np.array_equal(times_ns, value.times_ns)


def test_features_are_gathered_in_any_choice(layout: StoreLayout, reader: AlignedReader) -> None:
    snapshot = take_snapshot(layout, "sample", list(FEATURES))
    alone = AlignedReader(layout, snapshot, ["audio-toy@1"])
    rows = np.arange(len(reader))[::-1]
    one, all_of_them = alone.gather(rows), reader.gather(rows)
    assert set(one.features) == {"audio-toy@1"}
    assert np.array_equal(one.features["audio-toy@1"].x_BTD, all_of_them.features["audio-toy@1"].x_BTD)


def test_callers_spine_can_be_a_part(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["audio-toy@1"])
    part = read_spine(layout, "sample").filter(pl.col("split") == "train").sample(fraction=1, shuffle=True, seed=1)
    reader = AlignedReader(layout, snapshot, ["audio-toy@1"], spine=part)
    assert set(reader.spine["split"]) == {"train"}
    assert reader.spine.select("partition", "shard", "ordinal").equals(
        reader.spine.select("partition", "shard", "ordinal").sort("partition", "shard", "ordinal")
    )
    batch = reader.gather(np.arange(len(reader)))
    for row, x_TD in enumerate(batch.features["audio-toy@1"].x_BTD):
        expected = expected_of(reader, row, "audio-toy@1")
        assert expected is None or np.array_equal(x_TD[: len(expected)], expected)


def test_later_revisions_are_not_seen(tmp_path: Path) -> None:
    layout = make_sample_store(tmp_path / "store", [TEXT])
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    frame = read_spine(layout, "sample").drop("partition")
    plan = plan_spine(frame, [], shard_clips=4, superseded=frame["asset_id"].to_list())
    write_spine(layout.dataset("sample", CLIPS), DAYS[1], plan)
    assert len(AlignedReader(layout, snapshot, ["text-toy@1"])) == frame.height
    assert len(AlignedReader(layout, take_snapshot(layout, "sample", ["text-toy@1"]), ["text-toy@1"])) == 0


def test_nothing_live_is_an_empty_batch(tmp_path: Path, layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", list(FEATURES))
    none = read_spine(layout, "sample").clear()
    reader = AlignedReader(layout, snapshot, list(FEATURES), spine=none)
    batch = reader.gather(np.array([], np.int64))
    assert (len(reader), batch.keys) == (0, ())
    assert batch.features["video-toy@1"].x_BTD.shape[0] == 0


def test_unknown_feature_is_named(layout: StoreLayout, reader: AlignedReader) -> None:
    snapshot = take_snapshot(layout, "sample", ["audio-toy@1"])
    with pytest.raises(ConfigError, match=r"no 'text-toy@1'; it has \['audio-toy@1'\]"):
        AlignedReader(layout, snapshot, ["text-toy@1"])
    with pytest.raises(ConfigError, match="no feature 'x@1'"):
        reader.times(0, "x@1")


def test_damage_is_found_when_its_shard_is_touched(tmp_path: Path) -> None:
    layout = make_sample_store(tmp_path / "store", [VIDEO], shards=2, shard_clips=3)
    dataset = layout.dataset("sample", "video-toy@1")
    head = read_head(dataset, DAYS[1])
    assert head is not None
    path = dataset.object(head.shards[1].files[0].sha256)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    snapshot = take_snapshot(layout, "sample", ["video-toy@1"])
    reader = AlignedReader(layout, snapshot, ["video-toy@1"])
    reader.gather(np.array([0, 1, 2]))
    with pytest.raises(StoreError, match=rf"{path.name} is damaged.*mmpipe verify"):
        reader.gather(np.array([0, 3]))
    AlignedReader(layout, snapshot, ["video-toy@1"], verify=False).gather(np.array([0, 3]))


def test_spine_of_other_clips_is_refused(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["video-toy@1"])
    spine = read_spine(layout, "sample")
    swapped = spine.with_columns(pl.col("key").reverse())
    with pytest.raises(StoreError, match="name other clips at the same ordinals"):
        AlignedReader(layout, snapshot, ["video-toy@1"], spine=swapped).gather(np.array([0]))
