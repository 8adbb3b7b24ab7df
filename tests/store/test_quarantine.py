from __future__ import annotations

import polars as pl
import pytest

from mmpipe.store.layout import QUARANTINE, create_store
from mmpipe.store.quarantine import EXTRACTION, INGEST, read_quarantine, write_quarantine
from mmpipe.types import Drop

DAY = "2026-11-20"


@pytest.fixture
def store(fast_path):
    return create_store(fast_path / "store")


@pytest.fixture
def dataset(store):
    return store.dataset("talk", QUARANTINE)


def drop(file: str, **other) -> Drop:
    return Drop(**{"stage": "probe", "code": "decode_error", "detail": "cut short", "file": file} | other)


def replay(drop: Drop) -> str:
    return f"mmpipe ingest --only {drop.file}"


def test_a_row_has_the_reason_and_the_command_that_replays_it(store, dataset):
    write_quarantine(dataset, DAY, INGEST, [drop("b"), drop("a"), drop("a")], replay)
    frame = read_quarantine(store, "talk")
    assert frame.select("partition", "stage", "code", "file", "replay").rows() == [
        (DAY, "probe", "decode_error", "a", "mmpipe ingest --only a"),
        (DAY, "probe", "decode_error", "b", "mmpipe ingest --only b"),
    ]


def test_the_stages_keep_to_their_own_file(store, dataset):
    write_quarantine(dataset, DAY, EXTRACTION, [drop("x", feature="audio-logmel@1")], replay)
    write_quarantine(dataset, DAY, INGEST, [drop("a")], replay)
    write_quarantine(dataset, DAY, INGEST, [drop("b")], replay)
    assert read_quarantine(store, "talk")["file"].to_list() == ["b", "x"]
    assert [path.name for path in sorted(dataset.data(DAY).iterdir())] == ["000000.parquet", "000001.parquet"]


def test_what_a_run_did_not_look_at_can_stay(store, dataset):
    drops = [drop("x", feature=feature, clip_key=key) for feature in ("a@1", "b@1") for key in ("k1", "k2")]
    write_quarantine(dataset, DAY, EXTRACTION, drops, replay)
    redone = (pl.col("feature") == "a@1") & pl.col("clip_key").is_in(["k1"])
    write_quarantine(dataset, DAY, EXTRACTION, [], replay, keep=~redone)
    assert read_quarantine(store, "talk").select("feature", "clip_key").sort(pl.all()).rows() == [
        ("a@1", "k2"),
        ("b@1", "k1"),
        ("b@1", "k2"),
    ]


def test_a_stage_without_drops_has_no_file(store, dataset):
    write_quarantine(dataset, DAY, INGEST, [drop("a")], replay)
    write_quarantine(dataset, DAY, INGEST, [], replay)
    assert read_quarantine(store, "talk").is_empty()
    assert list(dataset.data(DAY).iterdir()) == []


def test_hostile_text_is_kept_readable(store, dataset):
    write_quarantine(dataset, DAY, INGEST, [drop("a", detail="bad \udcff\x00 <script> \x1b[2J")], replay)
    assert read_quarantine(store, "talk")["detail"].to_list() == ["bad \\udcff\x00 <script> \x1b[2J"]


def test_the_order_they_came_in_does_not_show(store, fast_path, tree_digest):
    other = create_store(fast_path / "other")
    drops = [drop(name, detail=detail) for name in "ab" for detail in ("x", "y")]
    write_quarantine(store.dataset("talk", QUARANTINE), DAY, INGEST, drops, replay)
    write_quarantine(other.dataset("talk", QUARANTINE), DAY, INGEST, drops[::-1], replay)
    assert tree_digest(store.root) == tree_digest(other.root)
