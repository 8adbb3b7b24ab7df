"""Snapshots as a person makes them: named, listed, compared, dropped, and deaf to what comes later."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from mmpipe.cli.main import main
from mmpipe.config import Config, load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.train.snapshots import (
    compare_snapshots,
    create_snapshot,
    drop_snapshot,
    kept_snapshots,
    pinned_partitions,
)
from mmpipe.store.audit import read_events
from mmpipe.store.layout import CLIPS, StoreLayout, open_store
from mmpipe.store.sample import SampleFeature, make_sample_store, write_sample_feature, write_sample_spine
from mmpipe.store.spine import SpinePlan, read_spine, write_spine
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAYS = ("2026-11-19", "2026-11-20")
TEXT = SampleFeature(schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_sample_store(folder / "store", [TEXT], partitions=DAYS)
    return folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    shutil.copytree(made / "store", tmp_path / "store")
    (tmp_path / "mmpipe.toml").write_text('store = "store"\n[corpora.sample]\nroot = "media"\nfeatures = []\n')
    return load_config(tmp_path / "mmpipe.toml")


@pytest.fixture
def layout(config: Config) -> StoreLayout:
    return open_store(config.store)


def test_a_snapshot_is_created_listed_shown_and_dropped(config: Config, layout: StoreLayout) -> None:
    made = create_snapshot(config, "paper", "sample", ["text-toy"], DAYS[1], None, "for the paper")
    assert (made.features, made.first, made.last, made.partitions) == (("text-toy@1",), DAYS[1], DAYS[1], 1)
    assert create_snapshot(config, "paper", "sample", ["text-toy@1"], DAYS[1]) == made
    assert kept_snapshots(config) == (made,)
    assert [(row.dataset, row.partition, row.clips) for row in pinned_partitions(config, "paper")] == [
        (CLIPS, DAYS[1], 8),
        ("text-toy@1", DAYS[1], 8),
    ]
    assert drop_snapshot(config, "paper", "out of print").held_by == ()
    assert [kept.name for kept in kept_snapshots(config)] == [""]
    events = read_events(layout)
    assert [(event.kind, event.subject, event.reason) for event in events] == [
        ("snapshot-create", "paper", "for the paper"),
        ("snapshot-drop", "paper", "out of print"),
    ]
    assert {event.result for event in events} == {made.snapshot}


def test_a_dry_run_writes_nothing(config: Config, layout: StoreLayout) -> None:
    create_snapshot(config, "paper", "sample", dry_run=True)
    assert not layout.snapshots.exists() and not layout.audit.exists()
    create_snapshot(config, "paper", "sample")
    drop_snapshot(config, "paper", "no", dry_run=True)
    assert [kept.name for kept in kept_snapshots(config)] == ["paper"]


@pytest.mark.parametrize(
    ("features", "first", "text"),
    [(["audio"], None, "names 0 features"), (None, "2027-01-01", "no clips from 2027-01-01")],
)
def test_what_is_not_there_cannot_be_frozen(config: Config, features, first, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        create_snapshot(config, "paper", "sample", features, first)


def test_a_drop_wants_a_reason(config: Config) -> None:
    create_snapshot(config, "paper", "sample")
    with pytest.raises(ConfigError, match="--reason"):
        drop_snapshot(config, "paper", " ")


def test_later_labels_splits_and_clips_do_not_change_what_a_snapshot_gives(config: Config, layout: StoreLayout) -> None:
    create_snapshot(config, "paper", "sample")
    before = open_corpus(config.store, snapshot="paper").spine
    relabel(layout, DAYS[0])
    spine = write_sample_spine(layout, "sample", "2026-11-21", 3, 4)
    write_sample_feature(layout, "sample", "2026-11-21", spine, TEXT)
    assert open_corpus(config.store, snapshot="paper").spine.equals(before)
    now = open_corpus(config.store / "sample").spine
    assert now.height == before.height + 3 - 1
    assert now["labels"].to_list()[:8] != before["labels"].to_list()[:8]


def test_a_diff_says_what_changed(config: Config, layout: StoreLayout) -> None:
    create_snapshot(config, "paper", "sample")
    assert compare_snapshots(config, "paper", "head") == ()
    relabel(layout, DAYS[0])
    spine = write_sample_spine(layout, "sample", "2026-11-21", 3, 4)
    write_sample_feature(layout, "sample", "2026-11-21", spine, TEXT)
    changed, new, values = compare_snapshots(config, "paper", "head")
    assert (changed.dataset, changed.partition) == (CLIPS, DAYS[0])
    assert (changed.revision_before, changed.revision_after) == (1, 2)
    assert (changed.clips_added, changed.clips_removed, changed.clips_relabelled, changed.clips_resplit) == (0, 1, 7, 2)
    assert (changed.shards_added, changed.shards_removed, changed.shards_changed) == (0, 0, 2)
    assert (new.revision_before, new.revision_after, new.clips_added, new.shards_added) == (0, 1, 3, 1)
    assert (values.dataset, values.clips_added) == ("text-toy@1", 3)
    create_snapshot(config, "later", "sample")
    backwards = compare_snapshots(config, "later", "paper")
    assert [row.clips_removed for row in backwards] == [0, 3, 3]
    assert compare_snapshots(config, "head", "paper") == backwards
    with pytest.raises(ConfigError, match="one side must be a snapshot"):
        compare_snapshots(config, "head", "head")


def test_the_verbs_say_the_same(config: Config, layout: StoreLayout, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*words, "--config", str(config.store.parent / "mmpipe.toml")])
        assert end.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert "named snapshot" in told("snapshot", "create", "paper", "--reason", "for the paper", "--from", DAYS[0])
    assert json.loads(told("snapshot", "ls", "--json"))[0]["name"] == "paper"
    assert "for the paper" in told("snapshot", "ls")
    assert len(json.loads(told("snapshot", "show", "paper", "--json"))) == 4
    assert told("snapshot", "diff", "paper", "head", "--json") == "[]\n"
    relabel(layout, DAYS[0])
    assert "1 -> 2" in told("snapshot", "diff", "paper", "head")
    assert "dropped the name" in told("snapshot", "drop", "paper", "--reason", "done")
    assert [event["kind"] for event in json.loads(told("audit", "--json"))] == ["snapshot-create", "snapshot-drop"]
    assert "newest record: 2" in told("audit")


def relabel(layout: StoreLayout, day: str) -> None:
    """Commit a spine in which one clip is gone, and the others have other labels, two of them another split."""
    frame = read_spine(layout, "sample", [day]).drop("partition")
    row = pl.int_range(pl.len())
    other_split = pl.when(pl.col("split") == "test").then(pl.lit("val")).otherwise(pl.lit("test"))
    after = frame.with_columns(
        pl.lit('{"class":"other"}').alias("labels"),
        (row == 0).alias("superseded"),
        pl.when(row.is_in([1, 2])).then(other_split).otherwise(pl.col("split")).alias("split"),
    )
    write_spine(layout.dataset("sample", CLIPS), day, SpinePlan(existing=frame, frame=after, changed=(0, 1)))
