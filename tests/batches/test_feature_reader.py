from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch.utils.data import DataLoader

import mmpipe
from mmpipe.batches.feature_reader import FeatureReader
from mmpipe.errors import ConfigError
from mmpipe.store.sample import SampleFeature, make_sample_store, sample_value
from mmpipe.store.snapshot import save_snapshot
from mmpipe.train.data import tensors_of
from mmpipe.types import FeatureKind, FeatureSchema, Modality


def feature(name: str, modality: Modality, kind: FeatureKind, dim: int, dtype: str, **shape: float) -> SampleFeature:
    schema = FeatureSchema(feature=name, modality=modality, kind=kind, dim=dim, dtype=dtype)
    return SampleFeature(schema=schema, **shape)


HALF = feature("video-half@1", Modality.VIDEO, FeatureKind.SEQUENCE, 8, "float16", min_steps=4, max_steps=4)
BYTES = feature(
    "audio-bytes@1", Modality.AUDIO, FeatureKind.SEQUENCE, 3, "uint8", min_steps=1, max_steps=9, missing=0.3
)
WHOLE = feature("audio-whole@1", Modality.AUDIO, FeatureKind.SEQUENCE, 5, "int32", min_steps=2, max_steps=6)
TEXT = feature("text-half@1", Modality.TEXT, FeatureKind.VECTOR, 5, "float16", missing=0.2)
FEATURES = {one.schema.feature: one for one in (HALF, BYTES, WHOLE, TEXT)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("open") / "store"
    make_sample_store(root, list(FEATURES.values()), shards=3, shard_clips=10)
    return root


@pytest.fixture(scope="module")
def reader(store: Path) -> FeatureReader:
    return mmpipe.open(store / "sample", features=list(FEATURES))


def test_every_dtype_comes_back_as_it_was_written(reader: FeatureReader) -> None:
    batch = reader.gather(np.arange(len(reader)))
    for name, sample_feature in FEATURES.items():
        part = batch.features[name]
        assert part.x_BTD.dtype == np.dtype(sample_feature.schema.dtype)
        for row, key in enumerate(batch.keys):
            expected, found = sample_value(sample_feature, key), reader[row].values[name]
            assert (expected is None) == (found is None) == (not part.mask_BT[row].any())
            if expected is not None and found is not None:
                real = expected.array.reshape(-1, sample_feature.schema.dim)
                assert np.array_equal(part.x_BTD[row, : len(real)], real)
                assert not part.x_BTD[row, len(real) :].any()
                assert np.array_equal(found.array, expected.array) and found.array.dtype == expected.array.dtype
                assert not found.array.flags.writeable


def test_training_gets_float32(reader: FeatureReader) -> None:
    tensors = tensors_of(reader.gather(np.arange(6)), list(FEATURES))
    assert {str(x_BTD.dtype) for x_BTD, _ in tensors.values()} == {"torch.float32"}


def test_a_clip_is_found_by_key_and_cut_in_time(reader: FeatureReader) -> None:
    key = reader.clips["key"][7]
    whole = reader.sample(key)
    assert (whole.row, whole.key) == (7, key) and reader[-len(reader) + 7].key == key
    video = whole.values["video-half@1"]
    assert video is not None and video.times_ns is not None  # four steps, half a second apart
    cut = reader.slice(key, 0.5, 1.5).values["video-half@1"]
    assert cut is not None and cut.times_ns is not None
    assert cut.times_ns.tolist() == [500_000_000, 1_000_000_000]
    assert np.array_equal(cut.array, video.array[1:3])
    nothing = reader.slice(key, 7, 8).values["video-half@1"]
    assert nothing is not None and nothing.array.shape == (0, 8)
    with pytest.raises(ConfigError, match="no clip 'nobody'"):
        reader.sample("nobody")
    with pytest.raises(IndexError):
        reader[len(reader)]


def test_missing_clips_are_masked_dropped_or_refused(store: Path, reader: FeatureReader) -> None:
    has_N = (reader.lengths("audio-bytes@1") > 0) & (reader.lengths("text-half@1") > 0)
    assert 0 < has_N.sum() < len(reader)
    chosen = ["audio-bytes@1", "text-half@1"]
    dropped = mmpipe.open(store, chosen, missing="drop")
    assert dropped.clips["key"].to_list() == reader.clips["key"].filter(pl.Series(has_N)).to_list()
    assert all(part.mask_BT.any(1).all() for part in dropped.gather(np.arange(len(dropped))).features.values())
    with pytest.raises(ConfigError, match=f"{(~has_N).sum()} of 30 clips lack"):
        mmpipe.open(store, chosen, missing="error")
    assert len(mmpipe.open(store, ["video-half@1"], missing="error")) == 30


def test_split_snapshot_and_what_is_not_there(store: Path, reader: FeatureReader) -> None:
    train = mmpipe.open(store / "sample", split="train")
    assert set(train.clips["split"]) == {"train"} and 0 < len(train) < len(reader)
    save_snapshot(mmpipe.steps.share.open.open_store(store), reader.snapshot)
    pinned = mmpipe.open(store / "sample", snapshot=reader.snapshot.digest)
    assert set(pinned.features) == set(FEATURES) and len(pinned) == len(reader)
    for place, choices, message in [
        (store / "nobody", {}, "no corpus 'nobody'"),
        (store.parent / "a" / "b", {}, "no corpus at"),
        (store, {"split": "holdout"}, "no split 'holdout'"),
        (store, {"missing": "maybe"}, "missing is"),
        (store, {"features": "video-half@1"}, "list of names"),
        (store, {"features": ["video-half"]}, r"Did you mean 'video-half@1'\?"),
    ]:
        with pytest.raises(ConfigError, match=message):
            mmpipe.open(place, **choices)


def test_batches_of_all_ranks_are_the_epoch(reader: FeatureReader) -> None:
    assert [key for batch in reader.batches(7) for key in batch.keys] == reader.clips["key"].to_list()
    whole = [batch.keys for batch in reader.batches(4, seed=3, epoch=1)]
    assert sorted(key for keys in whole for key in keys) == sorted(reader.clips["key"])
    assert whole != [batch.keys for batch in reader.batches(4, seed=3, epoch=2)]
    ranks = [[batch.keys for batch in reader.batches(4, seed=3, epoch=1, rank=rank, world=3)] for rank in range(3)]
    assert [ranks[number % 3][number // 3] for number in range(len(whole))] == whole
    assert [batch.keys for batch in reader.batches(4, seed=3, epoch=1, start=5)] == whole[5:]
    with pytest.raises(ConfigError, match="rank"):
        list(reader.batches(4, rank=3, world=3))


def test_buckets_pad_less_and_lose_nothing(reader: FeatureReader) -> None:
    one = mmpipe.open(reader._arguments[0].root, ["audio-whole@1"])

    def cells(bucket: int) -> int:
        return sum(batch.features["audio-whole@1"].mask_BT.size for batch in one.batches(5, seed=1, bucket=bucket))

    assert cells(6) < cells(0)
    bucketed = [key for batch in one.batches(5, seed=1, bucket=6) for key in batch.keys]
    assert sorted(bucketed) == sorted(one.clips["key"])


def test_torch_order_is_the_same_for_any_workers(reader: FeatureReader) -> None:
    dataset = reader.torch_batches(4, seed=3)
    expected = [batch.keys for batch in reader.batches(4, seed=3)]
    assert [batch.keys for batch in dataset] == expected
    loaded = list(DataLoader(dataset, num_workers=2, batch_size=None))  # type: ignore[arg-type]
    assert [batch.keys for batch in loaded] == expected
    assert [batch.number for batch in loaded] == list(range(len(expected)))
    assert str(loaded[0].x["video-half@1"].dtype) == "torch.float16"
    assert loaded[0].mask["audio-bytes@1"].shape == loaded[0].x["audio-bytes@1"].shape[:2]


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_goes_on_in_the_middle_of_an_epoch(reader: FeatureReader, workers: int) -> None:
    expected = [batch.keys for batch in reader.batches(4, seed=3, epoch=5)]
    dataset = reader.torch_batches(4, seed=3)
    dataset.set_epoch(5)
    for count, batch in enumerate(dataset, start=1):
        if count == 3:
            state = dataset.state_dict()
            assert state == dataset.state_dict(after=batch)
            break
    again = reader.torch_batches(4, seed=3)
    again.load_state_dict(state)
    loader = DataLoader(again, num_workers=workers, batch_size=None)  # type: ignore[arg-type]
    assert [batch.keys for batch in loader] == expected[3:]


def test_workers_that_live_on_hear_of_a_new_epoch_and_of_a_state(reader: FeatureReader) -> None:
    epochs = [[batch.keys for batch in reader.batches(4, seed=3, epoch=epoch)] for epoch in range(3)]
    dataset = reader.torch_batches(4, seed=3)
    loader = DataLoader(dataset, num_workers=2, batch_size=None, persistent_workers=True)  # type: ignore[arg-type]
    for epoch in (0, 2, 1):
        dataset.set_epoch(epoch)
        assert [batch.keys for batch in loader] == epochs[epoch]
    batches = iter(loader)
    third = [next(batches) for _ in range(3)][-1]
    dataset.load_state_dict(dataset.state_dict(after=third))
    assert [batch.keys for batch in loader] == epochs[1][3:]
    dataset.set_epoch(2)
    assert [batch.keys for batch in loader] == epochs[2]
    assert not epochs[0] == epochs[1] != epochs[2]


def test_a_state_serves_another_number_of_ranks(reader: FeatureReader) -> None:
    expected = [batch.keys for batch in reader.batches(4, seed=3)]
    two = [reader.torch_batches(4, seed=3, rank=rank, world=2) for rank in range(2)]
    seen, states = [], []
    for dataset in two:
        batches = iter(dataset)
        seen += [next(batches).keys, next(batches).keys]
        states.append(dataset.state_dict())
    assert states[0] == states[1]
    alone = reader.torch_batches(4, seed=3)
    alone.load_state_dict(states[0])
    assert sorted(seen) == sorted(expected[:4])
    assert [batch.keys for batch in alone] == expected[4:]


def test_reader_travels_to_another_process(reader: FeatureReader) -> None:
    again = pickle.loads(pickle.dumps(reader.torch_batches(4, seed=3)))
    first = next(iter(again))
    assert first.keys == next(iter(reader.batches(4, seed=3))).keys
    assert first.to("cpu").keys == first.keys
