"""Clips that are superseded are nobody's work any more: not planned, not extracted, not counted as current."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_maker import (
    CORPUS,
    LATER,
    SOUND,
    TEXT,
    drops,
    extract,
    ingest,
    make_config,
    shards,
    write_pairs,
    write_tone,
)

from mmpipe.config import Config
from mmpipe.steps.keep.compact import compact_corpus
from mmpipe.steps.plan.inputs import is_made_from, note_inputs, possible_inputs, split_inputs
from mmpipe.steps.plan.plan import State, plan_corpus, read_states
from mmpipe.steps.plan.status import read_status
from mmpipe.steps.share.open import open_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")

WINDOWS = {"rule": "window", "length_s": 0.1, "hop_s": 0.1}


def replaced(folder: Path) -> Config:
    """Return the config of a shard with a clip that is live and one whose file has other bytes now; nothing is made."""
    write_pairs(folder / "media", ["kept", "one"])
    config = make_config(folder)
    ingest(config)
    write_tone(folder / "media" / "one.wav", hz=2_900)
    ingest(config)
    return config


def has_values(config: Config) -> bool:
    corpus = open_corpus(config.store)
    batch = corpus.gather(np.arange(len(corpus)))
    return all(batch.features[name].mask_BT.any(axis=1).all() for name in (SOUND, TEXT))


def test_shards_of_a_rule_that_was_taken_back_are_neither_due_nor_counted(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "one"])
    whole, windows = make_config(tmp_path), make_config(tmp_path, clips=WINDOWS)
    for config in (whole, windows, whole):
        report = ingest(config)
    assert [count.clips for count in report.partitions] == [2]
    assert [(due.shard, due.clips) for due in plan_corpus(whole, CORPUS).shards] == [(0, 2)]
    assert extract(whole)[0].computed == 4
    (_, text) = read_status(whole, CORPUS).cells
    assert (text.clips, text.values, text.quarantined) == (2, 2, 0)
    assert plan_corpus(whole, CORPUS).is_empty and len(open_corpus(whole.store)) == 2
    ingest(windows)  # the rule of before, again: its clips are live and due
    assert {due.shard for due in plan_corpus(windows, CORPUS).shards} == {1}


def test_a_superseded_clip_of_a_shard_is_left_out_and_fails_nothing(tmp_path: Path) -> None:
    config = replaced(tmp_path)
    assert [(due.shard, due.clips) for due in plan_corpus(config, CORPUS).shards] == [(0, 1), (1, 1)]
    report, committed = extract(config)
    assert (report.computed, dict(report.quarantined), drops(config)) == (4, {}, {})
    assert {count.feature: (count.written, count.absent) for count in committed.features} == {
        SOUND: (2, 1),
        TEXT: (2, 1),
    }
    assert plan_corpus(config, CORPUS).is_empty and has_values(config)
    assert verify_store(StoreLayout(config.store)) == ()


def test_a_clip_that_is_live_again_is_due_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "one"])
    first = (tmp_path / "media" / "one.wav").read_bytes()
    config = replaced(tmp_path)
    extract(config)
    (tmp_path / "media" / "one.wav").write_bytes(first)
    ingest(config)
    (due,) = plan_corpus(config, CORPUS).shards
    assert (due.shard, due.clips, set(due.reasons)) == (0, 2, {"clips that were superseded are live again"})
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty and has_values(config)


def test_what_is_superseded_after_it_was_made_makes_nothing_due(tmp_path: Path) -> None:
    config = replaced(tmp_path)
    extract(config)
    write_tone(tmp_path / "media" / "kept.wav", hz=1_234)
    ingest(config)
    assert [due.shard for due in plan_corpus(config, CORPUS).shards] == [2]
    before = shards(config, SOUND)
    extract(config)
    assert {number: files for number, files in shards(config, SOUND).items() if number < 2} == before


def test_a_clip_that_failed_and_was_superseded_leaves_the_quarantine(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "one"])
    config = make_config(tmp_path)
    ingest(config)
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    extract(config)
    assert drops(config, "extract") == {"one.wav": "changed_since_ingest"}
    ingest(config, LATER)
    reasons = {(due.shard, reason) for due in plan_corpus(config, CORPUS).shards for reason in due.reasons}
    assert (0, "failed, and superseded since") in reasons
    report, _ = extract(config)
    assert (report.computed, drops(config)) == (1, {}) and plan_corpus(config, CORPUS).is_empty
    assert {state.state for state in read_states(config, CORPUS)} == {State.COMPLETE} and has_values(config)


def test_a_failed_shard_that_is_superseded_whole_leaves_the_quarantine_and_may_come_back(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    first = (tmp_path / "media" / "one.wav").read_bytes()
    config = make_config(tmp_path)
    ingest(config)
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    extract(config)
    assert drops(config) == {"one.wav": "changed_since_ingest"}
    ingest(config)
    assert drops(config) == {} and [due.shard for due in plan_corpus(config, CORPUS).shards] == [1]
    extract(config)
    (tmp_path / "media" / "one.wav").write_bytes(first)
    ingest(config)
    assert [(due.shard, due.features) for due in plan_corpus(config, CORPUS).shards] == [(0, (SOUND,))]
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty and has_values(config)
    assert verify_store(StoreLayout(config.store)) == ()


def test_lost_files_of_a_shard_that_is_superseded_whole_are_no_longer_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    config = make_config(tmp_path)
    ingest(config)
    extract(config)
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    ingest(config)
    extract(config)
    layout = StoreLayout(config.store)
    layout.dataset(CORPUS, SOUND).object(shards(config, SOUND)[0][0]).unlink()
    assert verify_store(layout) != ()
    (due,) = plan_corpus(config, CORPUS).shards
    assert (due.shard, due.clips, due.features) == (0, 0, (SOUND,))
    report, _ = extract(config)
    assert (report.computed, report.shards) == (0, 1)
    assert plan_corpus(config, CORPUS).is_empty and verify_store(layout) == () and has_values(config)


def test_compacting_carries_what_was_left_out(tmp_path: Path) -> None:
    config = replaced(tmp_path)
    extract(config)
    windows = make_config(tmp_path, clips=WINDOWS)
    ingest(windows)
    ingest(config)  # a shard of windows that nobody makes any more
    write_tone(tmp_path / "media" / "late.wav", hz=777)
    ingest(config)
    extract(config)
    assert (compact_corpus(config, CORPUS, below=100).repacks[0].blocked, plan_corpus(config, CORPUS).is_empty) == (
        "",
        True,
    )
    spine = read_spine(StoreLayout(config.store), CORPUS)
    assert spine["shard"].n_unique() == 1 and spine["superseded"].sum() == 11
    assert verify_store(StoreLayout(config.store)) == ()
    ingest(windows)
    assert [due.clips for due in plan_corpus(windows, CORPUS).shards][:1] == [10]


def test_what_is_left_out_is_told_behind_the_digest() -> None:
    assert note_inputs("abc", []) == "abc" and split_inputs("abc") == ("abc", frozenset())
    noted = note_inputs("abc", [7, 0, 1, 3, 2])
    assert noted == "abc without 0-3 7" and split_inputs(noted) == ("abc", frozenset({0, 1, 2, 3, 7}))
    assert is_made_from("abc", noted) and is_made_from("abc without 1", noted) and is_made_from(noted, noted)
    assert not is_made_from(noted, "abc without 1") and not is_made_from("abd", noted)
    assert possible_inputs(noted) == (noted, "abc") and possible_inputs("abc") == ("abc",)
