from __future__ import annotations

import random
from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.errors import StoreError, TransientError
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, create_store
from mmpipe.store.spine import (
    SPINE,
    VIEW_COLUMNS,
    IngestTotals,
    SpineRow,
    plan_spine,
    read_spine,
    read_spine_manifest,
    spine_row,
    write_spine,
)
from mmpipe.types import Asset, Clip, Modality, Split, Stream, clip_key_of

DAY = "2026-11-20"
FIXED = [name for name in SPINE.names if name not in VIEW_COLUMNS]


@pytest.fixture
def store(fast_path):
    return create_store(fast_path / "store")


def row(number: int, start_ns: int = 0, **other) -> SpineRow:
    """Return a clip of an asset; the same numbers give the same clip."""
    asset_id = f"asset {number}"
    fields = {
        "key": clip_key_of(asset_id, start_ns, start_ns + 10),
        "asset_id": asset_id,
        "source_id": f"source {9 - number % 10} {number}",
        "start_ns": start_ns,
        "end_ns": start_ns + 10,
        "group": f"speaker {number % 3}",
        "split": Split.TRAIN,
        "labels": {"b": "1", "a": "ä"},
        "audio": f"digest {number}",
    }
    return SpineRow(**fields | other)


def plan(existing, rows, **options):
    return plan_spine(existing, rows, shard_clips=options.pop("shard_clips", 3), **options)


# --------------------------------------------------------------------------- plans


def test_new_clips_fill_shards_in_an_order_of_their_own():
    rows = [row(number, start_ns) for number in range(4) for start_ns in (0, 10)]
    frame = plan(None, rows).frame
    assert frame["shard"].to_list() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert frame["ordinal"].to_list() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert frame["asset_id"].to_list() == [f"asset {n}" for n in (3, 3, 2, 2, 1, 1, 0, 0)]
    assert frame["start_ns"].to_list() == [0, 10] * 4
    assert frame["labels"][0] == '{"a":"ä","b":"1"}'


def test_later_clips_go_to_new_shards_and_leave_half_full_ones():
    first = plan(None, [row(0), row(1)])
    second = plan(first.frame, [row(0), row(1), row(5)])
    assert second.changed == (1,)
    assert second.frame.head(2).equals(first.frame)
    assert second.frame.row(2, named=True) | {"shard": 1, "ordinal": 0} == second.frame.row(2, named=True)


def test_nothing_new_changes_nothing():
    first = plan(None, [row(0), row(1)])
    assert plan(first.frame, [row(1), row(0)]).changed == ()
    assert plan(first.frame, []).frame.equals(first.frame)


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("labels", {"a": "corrected"}, '{"a":"corrected"}'),
        ("split", Split.TEST, "test"),
        ("group", "speaker 9", "speaker 9"),
        ("superseded", True, True),
    ],
)
def test_what_people_say_of_a_clip_may_change(column, value, stored):
    first = plan(None, [row(number) for number in range(6)])
    second = plan(first.frame, [replace(row(0), **{column: value})])
    assert second.changed == (1,)
    assert second.frame.filter(pl.col("asset_id") == "asset 0")[column].to_list() == [stored]
    assert second.frame.drop(column).equals(first.frame.drop(column))


@pytest.mark.parametrize("column", ["asset_id", "text", "audio", "video"])
def test_what_a_clip_is_may_not(column):
    first = plan(None, [row(0)])
    with pytest.raises(StoreError, match=rf"{row(0).key}.*{column}.*other"):
        plan(first.frame, [replace(row(0), **{column: "other"})])


def test_a_renamed_file_keeps_the_source_id_it_was_first_seen_under():
    first = plan(None, [row(0)])
    assert plan(first.frame, [replace(row(0), source_id="renamed")]).changed == ()


def test_clips_of_superseded_assets_are_marked_and_come_back_with_their_bytes():
    first = plan(None, [row(0), row(1)])
    second = plan(first.frame, [row(2)], superseded={"asset 1"})
    assert second.frame.filter("superseded")["asset_id"].to_list() == ["asset 1"]
    assert second.changed == (0, 1)
    assert not plan(second.frame, [row(1)]).frame["superseded"].any()


def test_a_clip_that_comes_twice_is_refused():
    with pytest.raises(StoreError, match="comes twice"):
        plan(None, [row(0), replace(row(0), source_id="twin")])


def test_a_row_carries_the_digests_of_the_assets_streams():
    fields = dict.fromkeys(("file_nbytes", "track", "start_ns", "duration_ns"), 0) | {"file_sha256": "", "codec": ""}
    streams = tuple(
        Stream(role=role, modality=Modality(role), digest=f"{role} digest", file="f", **fields)
        for role in ("audio", "text")
    )
    asset = Asset(asset_id="a", source_id="s", streams=streams)
    clip = Clip(key=clip_key_of("a", 0, 5), asset_id="a", start_ns=0, end_ns=5, text="hello")
    made = spine_row(asset, clip, group="g", split=Split.VAL, labels={})
    assert (made.video, made.audio, made.image, made.text_stream) == ("", "audio digest", "", "text digest")
    assert (made.source_id, made.text, made.split) == ("s", "hello", "val")


clips = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0, 10])), max_size=12, unique=True)
nights = st.lists(st.tuples(clips, st.sampled_from(["yes", "no"]), st.sets(st.integers(0, 12), max_size=2)), max_size=5)


@settings(max_examples=60, deadline=None)
@given(nights=nights, shard_clips=st.integers(1, 4), seed=st.integers(0, 99))
def test_whatever_comes_the_spine_is_append_only_and_indifferent_to_the_order(nights, shard_clips, seed):
    frame = SPINE.frame()
    expected: set[str] = set()
    for numbers, label, gone in nights:
        rows = [row(number, start_ns, labels={"answer": label}) for number, start_ns in numbers]
        superseded = {f"asset {number}" for number in gone}
        made = plan_spine(frame, rows, shard_clips=shard_clips, superseded=superseded)
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert plan_spine(frame, shuffled, shard_clips=shard_clips, superseded=superseded).frame.equals(made.frame)
        assert made.frame.head(frame.height).select(FIXED).equals(frame.select(FIXED))
        for number in range(int(made.frame["shard"].max() or 0) + 1):
            now, before = made.frame.filter(shard=number), frame.filter(shard=number)
            assert (number in made.changed) == (not now.equals(before))
            assert now["ordinal"].to_list() == list(range(now.height))
            assert now.height <= shard_clips
        expected |= {one.key for one in rows}
        assert set(made.frame["key"]) == expected and made.frame.height == len(expected)
        frame = made.frame


counts = st.integers(0, 50)


@given(files=counts, used=counts, quarantined=counts, duplicates=counts, filtered=counts, tombstoned=counts)
def test_every_file_is_accounted_for(files, **parts):
    if files == sum(parts.values()):
        IngestTotals(files=files, **parts)
    else:
        with pytest.raises(StoreError, match=f"{files} files are not"):
            IngestTotals(files=files, **parts)
    IngestTotals(files=sum(parts.values()), **parts)


def test_counts_cannot_be_negative():
    with pytest.raises(StoreError):
        IngestTotals(files=0, used=1, quarantined=-1)


# --------------------------------------------------------------------------- commits


def test_what_was_written_is_read_back(store):
    rows = [row(number, text="ein\n“Wort”", labels={"say": '"'}) for number in range(5)]
    made = plan(None, rows)
    head = write_spine(store.dataset("talk", CLIPS), DAY, made, IngestTotals(files=6, used=5, filtered=1))
    assert head.totals == {"files": 6, "used": 5, "quarantined": 0, "duplicates": 0, "filtered": 1, "tombstoned": 0}
    assert [(shard.number, shard.samples, shard.spine) for shard in head.shards] == [(0, 3, 3), (1, 2, 2)]
    read = read_spine(store, "talk")
    assert read.drop("partition").equals(made.frame)
    assert set(read["partition"]) == {DAY}
    assert read_spine_manifest(store.dataset("talk", CLIPS), head).equals(made.frame)


def test_partitions_come_in_order_and_absent_ones_are_empty(store):
    for day in ("2026-11-22", "2026-11-20", "2026-11-21"):
        write_spine(store.dataset("talk", CLIPS), day, plan(None, [row(0), row(1)]))
    assert read_spine(store, "talk")["partition"].unique(maintain_order=True).to_list() == [
        "2026-11-20",
        "2026-11-21",
        "2026-11-22",
    ]
    assert read_spine(store, "talk", ["2026-11-22"]).height == 2
    empty = read_spine(store, "talk", ["2020-01-01"])
    assert empty.is_empty() and empty.columns == read_spine(store, "talk").columns


def test_a_corrected_label_rewrites_its_shard_and_makes_nothing_stale(store):
    dataset = store.dataset("talk", CLIPS)
    totals = IngestTotals(files=6, used=6)
    first = write_spine(dataset, DAY, plan(None, [row(number) for number in range(6)]), totals)
    corrected = plan(read_spine(store, "talk", [DAY]), [replace(row(0), labels={"a": "corrected"})])
    second = write_spine(dataset, DAY, corrected)
    assert (second.revision, second.totals) == (2, first.totals)
    assert second.shard(0) == first.shard(0)
    assert second.shard(1).files != first.shard(1).files
    assert [shard.inputs for shard in second.shards] == [shard.inputs for shard in first.shards]
    assert read_spine_manifest(dataset, first)["labels"].unique().to_list() == ['{"a":"ä","b":"1"}']


def test_the_same_rows_make_the_same_files_in_any_store(store, fast_path, tree_digest):
    rows = [row(number, start_ns) for number in range(9) for start_ns in (0, 10)]
    other = create_store(fast_path / "other")
    for layout, order in ((store, rows), (other, rows[::-1])):
        write_spine(layout.dataset("talk", CLIPS), DAY, plan(None, order), IngestTotals(files=9, used=9))
    assert tree_digest(store.root) == tree_digest(other.root)


def test_written_twice_is_written_once(store):
    dataset = store.dataset("talk", CLIPS)
    made = plan(None, [row(0)])
    first = write_spine(dataset, DAY, made, IngestTotals(files=1, used=1))
    assert write_spine(dataset, DAY, made, IngestTotals(files=1, used=1)) == first


def test_a_plan_on_an_older_spine_is_refused(store):
    dataset = store.dataset("talk", CLIPS)
    ours, theirs = plan(None, [row(0)]), plan(None, [row(1)])
    write_spine(dataset, DAY, theirs)
    with pytest.raises(TransientError, match="Run the same again"):
        write_spine(dataset, DAY, ours)
    assert read_spine(store, "talk")["asset_id"].to_list() == ["asset 1"]


@pytest.mark.parametrize(
    "forge",
    [
        lambda frame: frame.tail(-1),
        lambda frame: frame.with_columns(text=pl.lit("other")),
        lambda frame: frame.with_columns(source_id=pl.lit("other")),
        lambda frame: frame.with_columns(shard=(pl.col("shard") + 1).cast(pl.Int32)),
        lambda frame: frame.with_columns(start_ns=pl.col("start_ns") + 1),
        lambda frame: frame.reverse(),
        lambda frame: pl.concat([frame, frame.head(1).with_columns(key=pl.lit("new"), ordinal=pl.lit(9, pl.Int32))]),
        lambda frame: pl.concat([frame, frame.head(1).with_columns(key=pl.lit("new"), shard=pl.lit(7, pl.Int32))]),
        lambda frame: pl.concat([frame, frame.head(1).with_columns(shard=pl.lit(2, pl.Int32))]),
    ],
)
def test_a_plan_that_moves_changes_or_loses_a_clip_is_refused(store, forge):
    dataset = store.dataset("talk", CLIPS)
    made = plan(None, [row(number) for number in range(5)])
    write_spine(dataset, DAY, made)
    with pytest.raises(StoreError, match="spine"):
        write_spine(dataset, DAY, replace(plan(made.frame, []), frame=forge(made.frame), changed=(0, 1)))
    assert read_head(dataset, DAY).revision == 1


def test_a_partition_where_nothing_could_be_used_has_a_revision_and_no_file(store):
    dataset = store.dataset("talk", CLIPS)
    head = write_spine(dataset, DAY, plan(None, []), IngestTotals(files=2, used=0, quarantined=2))
    assert (head.shards, head.totals["quarantined"]) == ((), 2)
    assert read_spine(store, "talk").is_empty()
    assert not dataset.data(DAY).exists()


def test_other_tools_read_the_spine_with_its_dates(store):
    dataset = store.dataset("talk", CLIPS)
    for day in ("2026-11-20", "2026-11-21"):
        write_spine(dataset, day, plan(None, [row(0)]))
    frame = pl.scan_parquet(dataset.root / "data").filter(pl.col("dt") == date(2026, 11, 21)).collect()
    assert frame.select(SPINE.names).equals(plan(None, [row(0)]).frame)
