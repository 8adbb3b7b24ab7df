"""What a plan tells before any work: time, room, who is at it; that a run does what it says; and how fresh all is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kill_corpus import CORPUS, DT, config_table, make_config, write_config, write_sound, write_words

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.steps.extract.extract import extract_plan, extract_shards
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.intake import settings_digest
from mmpipe.steps.night.backfill import backfill_dates
from mmpipe.steps.night.night import what_is_due
from mmpipe.steps.plan.forecast import forecast_plan, totals_of
from mmpipe.steps.plan.plan import Only, State, plan_corpus, read_states
from mmpipe.steps.plan.status import read_status
from mmpipe.store.claims import claim_shards
from mmpipe.store.layout import StoreLayout
from mmpipe.store.throughput import ThroughputNote, read_throughput, values_per_second

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

SOUND, WORDS = "audio-mfccseg@1", "text-ngrams@1"
FEATURES = ("audio-mfccseg", "text-ngrams")
NUM_PAIRS = 4


@pytest.fixture(scope="module")
def taken_in(kill_folder: Path) -> Path:
    """Return a folder with four pairs, ingested in two shards, and nothing extracted."""
    folder = kill_folder / "plans"
    (folder / "media").mkdir(parents=True)
    for number in range(NUM_PAIRS):
        write_sound(folder / "media" / f"pair-{number}.wav", 300 + 50 * number)
        write_words(folder / "media" / f"pair-{number}.txt", f"caption {number}")
    ingest_corpus(configure(folder), CORPUS, DT)
    return folder


@pytest.fixture
def own(taken_in: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder for one test to change; its files are not looked at again."""
    shutil.copytree(taken_in, tmp_path / "own")
    return tmp_path / "own"


def configure(folder: Path, **corpus) -> Config:
    return make_config(folder, **settings(**corpus))


def settings(**corpus) -> dict:
    return {"shard_clips": 2, "features": FEATURES, **corpus}


def states(config: Config) -> set[State]:
    return {state.state for state in read_states(config, CORPUS)}


# --------------------------------------------------------------------------- what it will take


def test_what_was_never_made_takes_an_unknown_time_and_room(own):
    config = configure(own)
    made = forecast_plan(config, plan_corpus(config, CORPUS), lambda _: 5 << 20)
    assert (made.clips, made.shards, made.values_to_compute, made.values_to_copy) == (4, 2, 8, 0)
    assert (made.seconds, made.nbytes, made.unmeasured) == (None, None, (SOUND, WORDS))
    assert made.table()["seconds"] == made.table()["nbytes"] == "unknown"
    assert totals_of(made)["time"] == f"unknown (not measured yet: {SOUND}, {WORDS})"


def test_what_was_measured_is_told_and_too_little_room_is_refused_before_any_work(own):
    config = configure(own)
    extract_plan(config, plan_corpus(config, CORPUS))
    plan = plan_corpus(config, CORPUS, only=Only.ALL, force=True)
    made = forecast_plan(config, plan, lambda _: 0)
    assert made.unmeasured == () and made.seconds > 0 and made.nbytes > 0 and made.free_bytes == 0
    enough = int(made.nbytes * 1.2) + 1
    for extract in (extract_plan, lambda *args, free: extract_shards(config, CORPUS, plan.shards, free=free)):
        with pytest.raises(ConfigError, match="times the need must be free"):
            extract(config, plan, free=lambda _: made.nbytes)
    report, _ = extract_plan(config, plan, free=lambda _: enough)
    assert report.computed == 2 * NUM_PAIRS
    first, second = read_throughput(StoreLayout(config.store), CORPUS)
    assert set(first.features) == set(second.features) == {SOUND, WORDS}
    assert (first.computed, first.reused, first.workers) == (2 * NUM_PAIRS, 0, 2)


def test_features_of_one_pass_share_its_time():
    note = ThroughputNote(features=("a", "b"), computed=80, reused=0, seconds=4.0, workers=2, ended="")
    other = ThroughputNote(features=("a",), computed=10, reused=0, seconds=2.0, workers=2, ended="")
    assert values_per_second([note], ["a", "b", "c"]) == {"a": 20.0, "b": 20.0}
    assert values_per_second([note, other], ["a"]) == {"a": (40 + 10) / (2 + 2)}


# --------------------------------------------------------------------------- who is at it


def test_claimed_shards_are_running_left_out_and_named_after_the_rest_is_done(own):
    config = configure(own)
    with claim_shards(StoreLayout(config.store), CORPUS, [(DT, 0)]):
        plan = plan_corpus(config, CORPUS)
        assert [(due.partition, due.shard) for due in plan.shards] == [(DT, 1)]
        assert {(state.shard, state.feature) for state in plan.running} == {(0, SOUND), (0, WORDS)}
        assert all("process" in state.reason for state in plan.running)
        with pytest.raises(TransientError, match=rf"dt={DT} shard 0 is being worked on by process"):
            extract_plan(config, plan)
        assert states(config) == {State.COMPLETE, State.RUNNING}
        assert what_is_due(config, CORPUS, DT)
    assert states(config) == {State.COMPLETE, State.MISSING}
    report, _ = extract_plan(config, plan_corpus(config, CORPUS))
    assert (report.shards, report.computed) == (1, 4)


def test_what_was_committed_since_the_plan_is_not_made_again(own):
    config = configure(own)
    plan = plan_corpus(config, CORPUS)
    extract_plan(config, plan)
    report, _ = extract_plan(config, plan)
    assert (report.shards, report.computed, report.reused) == (0, 0, 0)


def test_two_processes_with_one_plan_compute_everything_once(own):
    path = write_config(own, config_table(own, **settings()))
    command = [sys.executable, "-c", RUN, str(path)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "planned\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 75])
    config = configure(own)
    assert states(config) == {State.COMPLETE}
    assert sum(note.computed for note in read_throughput(StoreLayout(config.store), CORPUS)) == 2 * NUM_PAIRS


RUN = """
import json, sys
from pathlib import Path
from mmpipe.config import parse_config
from mmpipe.errors import TransientError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.plan.plan import plan_corpus
if __name__ == "__main__":
    config = parse_config(json.loads(Path(sys.argv[1]).read_text()))
    plan = plan_corpus(config, "talk")
    assert len(plan.shards) == 2
    print("planned", flush=True)
    sys.stdin.readline()
    try:
        extract_plan(config, plan)
    except TransientError:
        sys.exit(75)
"""


# --------------------------------------------------------------------------- a run does what the plan says


def test_a_backfill_does_what_the_plan_shows_and_a_night_would_do_the_same(own):
    config = configure(own)
    ingest_corpus(config, CORPUS, DT)  # the copy's files have other inodes
    plan = plan_corpus(config, CORPUS)
    assert what_is_due(config, CORPUS, DT) == (f"extract: {len(plan.shards)} shards (never extracted)",)
    dry = backfill_dates(config, CORPUS, DT, DT, dry_run=True)
    assert [(day.state, day.shards) for day in dry.days] == [("would run", len(plan.shards))]
    done = backfill_dates(config, CORPUS, DT, DT)
    assert [(day.state, day.shards) for day in done.days] == [("done", len(plan.shards))]
    assert plan_corpus(config, CORPUS).is_empty and what_is_due(config, CORPUS, DT) == ()


# --------------------------------------------------------------------------- how fresh


def test_a_feature_is_as_fresh_as_its_newest_whole_date(own):
    config = configure(own, max_age_h=30)
    (first, *_) = read_status(config, CORPUS, datetime(2026, 11, 22, 4, tzinfo=UTC)).freshness
    assert (first.newest, first.age_h, first.published, first.late) == ("", None, "", True)
    extract_plan(config, plan_corpus(config, CORPUS))
    found = read_status(config, CORPUS, datetime(2026, 11, 22, 4, tzinfo=UTC))
    assert found.matrix() == [{"dt": DT, "clips": NUM_PAIRS, SOUND: "2 complete", WORDS: "2 complete"}]
    assert [(entry.feature, entry.newest, entry.age_h, entry.late) for entry in found.freshness] == [
        (SOUND, DT, 28.0, False),
        (WORDS, DT, 28.0, False),
    ]
    assert found.freshness[0].published.endswith("+00:00")
    late = read_status(config, CORPUS, datetime(2026, 11, 22, 7, tzinfo=UTC)).late()
    assert [entry.feature for entry in late] == [SOUND, WORDS]


def test_a_feature_may_have_a_promise_of_its_own(own):
    at = datetime(2026, 11, 22, 4, tzinfo=UTC)
    name = SOUND.partition("@")[0]
    config = configure(own, max_age_h=30, max_age_h_of={name: 20})
    plain = settings_digest(configure(own).corpora[CORPUS])
    assert settings_digest(config.corpora[CORPUS]) == plain, "a promise changes nothing that is made"
    extract_plan(config, plan_corpus(config, CORPUS))
    found = read_status(config, CORPUS, at)
    (late,) = found.late()
    assert found.sentence(late) == f"the newest whole date of {SOUND} ended 28 h ago; max_age_h = 20"
    only = configure(own, max_age_h_of={"audio-logmell": 99})
    (unknown,) = read_status(only, CORPUS, at).late()
    assert unknown.feature == "audio-logmell", "a promise about a feature that is not made is never kept"
