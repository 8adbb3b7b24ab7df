from __future__ import annotations

import gc
import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from torch.utils.data import DataLoader

import mmpipe
from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.share.export import Target, plan_export, write_export
from mmpipe.steps.share.joined_stream import CorpusReader
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

AUDIO = FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6, dtype="float16")
TEXT = FeatureSchema(feature="text-toy@3", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=5)
FEATURES = [SampleFeature(schema=AUDIO, max_steps=9, missing=0.4), SampleFeature(schema=TEXT, missing=0.2)]
CLIPS = 30


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream") / "store"
    make_sample_store(root, FEATURES, partitions=("2026-11-19", "2026-11-20"), shards=3, shard_clips=5)
    return root


@pytest.fixture(scope="module")
def reader(store: Path) -> CorpusReader:
    return mmpipe.open(store)


def keys_of(samples: Any) -> list[str]:
    return [sample["__key__"] for sample in samples]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its tars to the garbage collector
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_stream_is_what_webdataset_reads_from_an_export(store: Path, tmp_path: Path, split: str) -> None:
    config = parse_config({"store": str(store), "corpora": {"sample": {"root": "."}}})
    write_export(plan_export(config, "sample", Target.WEBDATASET, tmp_path / "out"), shard_clips=4)
    tars = sorted(str(path) for path in (tmp_path / "out").glob(f"{split}-*.tar"))
    reader = mmpipe.open(store, split=split)
    streams = reader.webdataset(), reader.webdataset().decode(), reader.webdataset(decoded=True)
    exported = list(webdataset.WebDataset(tars, shardshuffle=False))
    gc.collect()
    count = 0
    for stock, raw, mine, fast in zip(exported, *streams, strict=True):
        count += 1
        fields = [name for name in stock if not name.startswith("__")]
        assert fields == [name for name in raw if not name.startswith("__")]
        assert stock["__key__"] == raw["__key__"] == mine["__key__"] == fast["__key__"]
        assert all(stock[name] == raw[name] for name in fields)
        assert mine["json"] == fast["json"] and mine["json"]["key"] == stock["__key__"]
        for name in fields[:-1]:
            assert mine[name].dtype == fast[name].dtype and np.array_equal(mine[name], fast[name])
    assert count == len(reader) > 0


def test_it_is_chained_as_any_webdataset(reader: CorpusReader) -> None:
    batches = list(reader.webdataset().shuffle(10).decode().to_tuple("__key__", "json").batched(4))
    assert sorted(chain.from_iterable(keys for keys, _ in batches)) == sorted(reader.clips["key"])
    assert [len(keys) for keys, _ in batches] == [4] * 7 + [2]
    kept = reader.webdataset(decoded=True).select(lambda sample: sample["json"]["present"]["audio-toy@1"])
    assert len(list(kept)) == int((reader.lengths("audio-toy@1") > 0).sum()) < CLIPS


def test_every_epoch_has_every_clip_once_in_another_order(reader: CorpusReader) -> None:
    stream = reader.webdataset(decoded=True, seed=3, run_clips=2)
    first, second = keys_of(stream), keys_of(stream)
    assert sorted(first) == sorted(second) == sorted(reader.clips["key"])
    assert first != second == keys_of(reader.webdataset(decoded=True, seed=3, epoch=1, run_clips=2))
    assert keys_of(reader.webdataset()) == reader.clips["key"].to_list()


@pytest.mark.sweep
def test_ranks_and_workers_share_the_clips(reader: CorpusReader, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        stream = reader.webdataset(decoded=True, run_clips=4)
        # Not forks of this process, which may hold whatever other tests have started.
        loader = DataLoader(stream, num_workers=2, batch_size=None, multiprocessing_context="spawn")
        seen.append(keys_of(loader))
    assert all(seen) and sorted(seen[0] + seen[1]) == sorted(reader.clips["key"])


def test_it_travels_to_another_process(reader: CorpusReader) -> None:
    again = pickle.loads(pickle.dumps(reader.webdataset(decoded=True)))
    assert keys_of(again) == reader.clips["key"].to_list()


def test_what_is_asked_wrongly_is_said(reader: CorpusReader) -> None:
    with pytest.raises(ConfigError, match="run_clips must be >= 1, got 0"):
        reader.webdataset(run_clips=0)
