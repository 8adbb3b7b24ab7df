"""A corpus that lives: late, renamed, changed, deleted and dated files, new rules; only what changed is made again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import (
    CORPUS,
    DT,
    LATER,
    SOUND,
    TEXT,
    drops,
    extract,
    ingest,
    make_config,
    partitions,
    reasons,
    shards,
    tree,
    write_pairs,
    write_text,
    write_tone,
)

from mmpipe.config import Config
from mmpipe.errors import ConfigError, ShardError
from mmpipe.sources.listing import Listing, list_corpus
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.night.backfill import backfill_dates
from mmpipe.steps.night.backfill_plan import dates_of_range
from mmpipe.steps.plan.choices import Only
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.share.open import open_corpus
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")

DAYS = ("2026-11-20", "2026-11-22")


def made(tmp_path: Path, *names: str, **corpus: object) -> Config:
    """Return the config of a corpus that is ingested and extracted."""
    write_pairs(tmp_path / "media", names)
    config = make_config(tmp_path, **corpus)
    ingest(config)
    extract(config)
    return config


def spine_of(config: Config) -> dict[str, tuple[str, int, bool]]:
    """Return source id -> (partition, shard, superseded); a superseded clip of a source is called `NAME (old)`."""
    rows = read_spine(StoreLayout(config.store), CORPUS).iter_rows(named=True)
    return {
        row["source_id"] + " (old)" * row["superseded"]: (row["partition"], row["shard"], row["superseded"])
        for row in rows
    }


def test_late_files_append_and_touch_nothing_old(tmp_path: Path) -> None:
    config = made(tmp_path, "one", "two")
    before = {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)}
    write_pairs(tmp_path / "media", ["late"])
    assert ingest_reason(config, CORPUS, LATER) == "files were added, removed or changed"
    report = ingest(config, LATER)
    assert [(count.partition, count.files, count.clips) for count in report.partitions] == [(DT, 4, 2), (LATER, 2, 1)]
    assert {due.partition for due in plan_corpus(config, CORPUS).shards} == {LATER}
    extract(config)
    assert {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)} == before
    assert spine_of(config) == {"one": (DT, 0, False), "two": (DT, 0, False), "late": (LATER, 0, False)}


def test_late_files_of_the_same_date_go_to_a_new_shard(tmp_path: Path) -> None:
    config = made(tmp_path, "m", "z")
    before = {name: shards(config, name)[0] for name in (CLIPS, SOUND, TEXT)}
    write_pairs(tmp_path / "media", ["a"])
    ingest(config)
    extract(config)
    assert spine_of(config) == {"m": (DT, 0, False), "z": (DT, 0, False), "a": (DT, 1, False)}
    assert {name: shards(config, name)[0] for name in (CLIPS, SOUND, TEXT)} == before
    assert shards(config, SOUND).keys() == {0, 1}


def test_a_late_copy_is_a_duplicate_and_no_clip(tmp_path: Path) -> None:
    config = made(tmp_path, "one")
    for suffix in (".wav", ".txt"):
        shutil.copy2(tmp_path / "media" / f"one{suffix}", tmp_path / "media" / f"a copy{suffix}")
    (count,) = ingest(config, LATER).partitions
    assert (count.partition, count.files, count.used, count.duplicates, count.clips) == (DT, 4, 2, 2, 1)
    assert drops(config) == {"a copy.wav": "duplicate", "a copy.txt": "duplicate"}
    assert plan_corpus(config, CORPUS).is_empty


def test_first_seen_sticks_whatever_the_date_of_the_run(tmp_path: Path) -> None:
    config = made(tmp_path, "one")
    for dt in ("2026-11-25", "2026-11-01"):
        ingest(config, dt)
        assert partitions(config) == (DT,) and plan_corpus(config, CORPUS).is_empty


def test_a_renamed_file_makes_nothing_due(tmp_path: Path) -> None:
    config = made(tmp_path, "one", "two")
    before = {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)}
    for suffix in (".wav", ".txt"):
        os.rename(tmp_path / "media" / f"one{suffix}", tmp_path / "media" / f"uno{suffix}")
    (count,) = ingest(config, LATER).partitions
    assert (count.partition, count.files, count.used, count.clips) == (DT, 4, 4, 2)
    assert plan_corpus(config, CORPUS).is_empty
    assert {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)} == before
    report, _ = extract_plan(config, plan_corpus(config, CORPUS, only=Only.ALL, force=True))
    assert report.computed == 4 and not report.quarantined  # it is read under its new name


def test_changed_bytes_supersede_the_clip_and_cost_only_their_own_feature(tmp_path: Path) -> None:
    config = made(tmp_path, "kept", "one")
    before = {name: shards(config, name)[0] for name in (SOUND, TEXT)}
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    ingest(config, LATER)
    assert spine_of(config) == {"kept": (DT, 0, False), "one (old)": (DT, 0, True), "one": (DT, 1, False)}
    report, _ = extract(config)
    assert (report.shards, report.computed, report.reused) == (1, 1, 1)  # the sound anew; the caption's value again
    assert {name: shards(config, name)[0] for name in (SOUND, TEXT)} == before
    assert len(open_corpus(config.store)) == 2 and plan_corpus(config, CORPUS).is_empty
    assert ingest_reason(config, CORPUS, LATER) == ""


def test_bytes_that_come_back_are_live_again(tmp_path: Path) -> None:
    config = made(tmp_path, "one")
    first = (tmp_path / "media" / "one.wav").read_bytes()
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    ingest(config)
    extract(config)
    write_text(tmp_path / "media" / "one.wav", first)
    ingest(config)
    rows = read_spine(StoreLayout(config.store), CORPUS).select("shard", "superseded").rows()
    assert rows == [(0, False), (1, True)]
    assert plan_corpus(config, CORPUS).is_empty


def test_a_new_feature_is_made_also_where_old_bytes_are_gone(tmp_path: Path) -> None:
    made(tmp_path, "deleted", "kept", "one", features=["text-ngrams"])
    write_tone(tmp_path / "media" / "one.wav", hz=2_900)
    for suffix in (".wav", ".txt"):
        (tmp_path / "media" / f"deleted{suffix}").unlink()
    both = make_config(tmp_path)
    ingest(both, LATER)
    report, committed = extract(both)
    assert report.quarantined == {"unreadable": 1}
    counts = {count.feature: (count.written, count.quarantined) for count in committed.features}
    assert counts == {SOUND: (2, 1), TEXT: (4, 0)}
    assert plan_corpus(both, CORPUS).is_empty
    assert not verify_store(StoreLayout(both.store))


def test_another_clip_rule_supersedes_the_old_clips(tmp_path: Path) -> None:
    config = made(tmp_path, "one", "two")
    windows = make_config(tmp_path, clips={"rule": "window", "length_s": 0.25, "hop_s": 0.25})
    assert ingest_reason(windows, CORPUS, DT) == "the corpus's settings or labels changed"
    (count,) = ingest(windows).partitions
    assert count.clips == 4
    rows = read_spine(StoreLayout(windows.store), CORPUS)
    assert rows.group_by("shard", "superseded").len().sort("shard").rows() == [(0, True, 2), (1, False, 4)]
    assert {reason for shard in plan_corpus(windows, CORPUS).shards for reason in shard.reasons} >= {
        "the audio of 'one' and 1 more is cut otherwise"
    }
    extract(windows)
    assert len(open_corpus(windows.store)) == 4
    ingest(config)  # and back again
    assert len(open_corpus(config.store)) == 2 and plan_corpus(config, CORPUS).is_empty


def test_cues_are_trimmed_or_dropped_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    write_tone(root / "talk.wav", seconds=2.0)
    cues = ("0.000 --> 00:00:01.000\nyes", "1.500 --> 00:00:09.000\nno", "5.000 --> 00:00:06.000\nlate")
    bad = ("1.000 --> 00:00:00.500\nbackwards", "1.000 --> 00:00:01.001\nblink", "0.000 --> 00:00:01.000\nagain")
    write_text(root / "talk.vtt", "WEBVTT\n\n" + "".join(f"00:00:0{cue}\n\n" for cue in cues + bad))
    write_tone(root / "mute.wav", seconds=1.0)
    config = make_config(tmp_path, clips={"rule": "cues"})
    (count,) = ingest(config).partitions
    assert (count.files, count.used, count.clips, count.clip_drops) == (3, 3, 2, 5)
    assert count.row()["cuts dropped"] == 5 and count.row()["assets without clips"] == 1
    rows = read_spine(StoreLayout(config.store), CORPUS).select("start_ns", "end_ns", "text").sort("start_ns").rows()
    assert rows == [(0, 1_000_000_000, "yes"), (1_500_000_000, 2_000_000_000, "no")]
    assert reasons(config) == {"cue_past_end": 1, "bad_cue": 1, "clip_too_short": 1, "duplicate_clip": 1, "no_cues": 1}


# --------------------------------------------------------------------------- dates in names


def dated(tmp_path: Path, *extra: str) -> Config:
    """Return the config of a corpus whose folders are dates."""
    write_pairs(tmp_path / "media", [*(f"{day}/{name}" for day in DAYS for name in ("a", "b")), *extra])
    return make_config(tmp_path, dates={"rule": "path"})


def test_a_backfill_fills_every_date_once(tmp_path: Path) -> None:
    config = dated(tmp_path)
    before = tree(tmp_path)
    dry = backfill_dates(config, CORPUS, "2026-11-19", "2026-11-22", dry_run=True)
    assert tree(tmp_path) == before
    states = {day.dt: day.state for day in dry.days}
    assert {dt for dt, state in states.items() if state == "would run"} >= set(DAYS)
    done = backfill_dates(config, CORPUS, "2026-11-19", "2026-11-22")
    assert [(day.dt, day.shards) for day in done.days if day.shards] == [(DAYS[0], 1), (DAYS[1], 1)]
    assert partitions(config) == DAYS
    before = tree(config.store)
    again = backfill_dates(config, CORPUS, "2026-11-19", "2026-11-22")
    assert {day.state for day in again.days} == {"nothing to do"}
    assert not ingest_reason(config, CORPUS, "2026-12-24")  # a date without files needs no look
    assert tree(config.store) == before


def test_a_backfill_lists_the_folder_once_for_all_its_dates(tmp_path: Path) -> None:
    config = dated(tmp_path)
    asked: list[Path] = []

    def list_files(root: Path, exclude: frozenset[Path]) -> Listing:
        asked.append(root)
        return list_corpus(root, exclude)

    for dry_run, state in ((True, "would run"), (False, "done"), (False, "nothing to do")):
        asked.clear()
        made = backfill_dates(config, CORPUS, "2025-10-20", "2026-11-23", dry_run=dry_run, list_files=list_files)
        assert (len(made.days), len(asked)) == (400, 1)
        assert {day.state for day in made.days if day.dt in DAYS} == {state}
    write_tone(tmp_path / "media" / DAYS[0] / "late.wav", 700)  # another run looks anew
    again = backfill_dates(config, CORPUS, *DAYS, list_files=list_files)
    assert [day.dt for day in again.days if day.state == "done"] == [DAYS[0]] and len(asked) == 2


def test_a_backfill_makes_new_parameters_over_all_dates(tmp_path: Path) -> None:
    config = dated(tmp_path)
    backfill_dates(config, CORPUS, *DAYS)
    changed = config.model_copy(update={"features": {"audio-mfccseg": {"num_mels": 32}}})
    dry = backfill_dates(changed, CORPUS, *DAYS, only=Only.STALE, dry_run=True)
    assert [(day.dt, day.state, day.shards) for day in dry.days if day.shards] == [
        (DAYS[0], "would run", 1),
        (DAYS[1], "would run", 1),
    ]
    captions = {day: shards(config, TEXT, day) for day in DAYS}
    backfill_dates(changed, CORPUS, *DAYS, only=Only.STALE).raise_if_failed()
    assert plan_corpus(changed, CORPUS).is_empty and {day: shards(config, TEXT, day) for day in DAYS} == captions


def test_parameters_that_change_the_shape_are_refused_before_any_work(tmp_path: Path) -> None:
    config = made(tmp_path, "one")
    wider = config.model_copy(update={"features": {"text-ngrams": {"dim": 64}}})
    before = tree(config.store)
    why = r"text-ngrams@1 gives .*\[64\].* frozen at .*\[512\].* of its own: a table \[features.text-ngrams-2\]"
    with pytest.raises(ConfigError, match=why):
        extract(wider)
    assert {name for name in tree(config.store) if name not in before} <= {"_leases/extract-sounds.lock"}


def test_a_failed_date_stops_no_other(tmp_path: Path) -> None:
    config = dated(tmp_path)
    for name in ("x", "y", "z"):
        write_text(tmp_path / "media" / DAYS[0] / f"{name}.mp4", "no film")
    made = backfill_dates(config, CORPUS, *DAYS)
    states = {day.dt: (day.state, day.shards) for day in made.days}
    assert states[DAYS[0]] == ("failed", 1) and states[DAYS[1]] == ("done", 1)
    with pytest.raises(ShardError, match=f"1 of 3 dates failed: {DAYS[0]}"):
        made.raise_if_failed()


def test_a_name_without_a_date_is_quarantined_and_the_others_are_not(tmp_path: Path) -> None:
    dated(tmp_path, "undated")
    config = make_config(tmp_path, dates={"rule": "path"}, max_quarantined=1)
    backfill_dates(config, CORPUS, *DAYS)
    assert drops(config) == {"undated.wav": "bad_date", "undated.txt": "bad_date"}
    spine = read_spine(StoreLayout(config.store), CORPUS)
    assert spine.filter(pl.col("source_id").str.contains("undated")).is_empty() and spine.height == 4


def test_what_has_no_date_counts_once_over_all_dates(tmp_path: Path) -> None:
    extra = ["undated", f"{DAYS[0]}/{DAYS[1]}/both", "12026-11-201/long"]
    dated(tmp_path, *extra)
    media = tmp_path / "media"
    for name in ("README.md", ".hidden", f"{DAYS[1]}/notes.md", f"{DAYS[1]}/.hidden"):
        write_text(media / name, "no media")
    config = make_config(tmp_path, dates={"rule": "path"}, max_quarantined=1)
    files = sum(path.is_file() for path in media.rglob("*"))

    def counted() -> dict[str, tuple[int, int, int]]:
        reports = [ingest(config, dt) for dt in (DAYS[1], "2026-11-21", DAYS[0], DAYS[1])]
        counts = {count.partition: count for report in reports for count in report.partitions}
        return {dt: (count.files, count.quarantined, count.filtered) for dt, count in counts.items()}

    counts = counted()
    # The first run has the rows of what has no date; what is left out without one is the oldest date's.
    assert counts == {DAYS[0]: (5, 0, 1), DAYS[1]: (13, 8, 1)}
    assert sum(of_date[0] for of_date in counts.values()) == files
    rows = read_quarantine(StoreLayout(config.store), CORPUS)
    assert rows.height == 8 and set(rows["partition"]) == {DAYS[1]}
    assert counted() == counts and not any(ingest_reason(config, CORPUS, dt) for dt in (*DAYS, "2026-12-24"))
    for suffix in (".wav", ".txt"):
        os.rename(media / f"undated{suffix}", media / f"{DAYS[0]}_dated{suffix}")
    assert counted() == {DAYS[0]: (7, 0, 1), DAYS[1]: (11, 6, 1)}


def test_files_without_any_date_are_told_by_the_date_that_runs(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one", "two"])
    config = make_config(tmp_path, dates={"rule": "path"}, max_quarantined=1)
    (count,) = ingest(config).partitions
    assert (count.partition, count.files, count.quarantined) == (DT, 4, 4)
    assert ingest(config, LATER).partitions == ()


def test_an_impossible_range_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="ends on 2026-11-01, before it begins on 2026-11-20"):
        dates_of_range("2026-11-20", "2026-11-01")
    with pytest.raises(ConfigError, match="a date is written 2026-11-20"):
        dates_of_range("20.11.2026", "2026-11-22")
