"""Recordings that end the worker which decodes them are quarantined with the way they did, their neighbours good."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kill_corpus import CORPUS, DT, config_table, make_config, write_config, write_sound
from kill_extractor import ACT_OF_HZ, ENTRY_POINT
from kill_process import KILLED, Child

from mmpipe.config import Config
from mmpipe.features.registry import extractor_names
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport, extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import Only, State, plan_corpus, read_states
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.verify import verify_store

pytest_plugins = ("kill_fixtures",)

NUM_GOOD = 9
CODE_OF_ACT = {
    "die": "worker_killed",
    "hang": "timeout",
    "swell": "memory",
    "raise": "extractor_error",
    "leave": "worker_killed",
    "misshape": "wrong_shape",
}


@pytest.fixture(scope="module")
def touchy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install an extractor of another package, as far as this process and its workers can tell."""
    site = tmp_path_factory.mktemp("site")
    about = site / "kill_extractor-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kill-extractor\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINT)
    sys.path.insert(0, str(site))
    yield site
    sys.path.remove(str(site))


@pytest.fixture(scope="module")
def poisoned(touchy: None, kill_folder: Path) -> tuple[Config, ExtractReport, CommitReport]:
    """Return a store over good and deadly recordings, extracted."""
    assert "audio-touchy" in extractor_names()
    folder = kill_folder / "poisoned"
    (folder / "media").mkdir(parents=True)
    for number in range(NUM_GOOD):
        write_sound(folder / "media" / f"good-{number}.wav", 300 + 37 * number)
    for hz, act in ACT_OF_HZ.items():
        write_sound(folder / "media" / f"good-4-{act}.wav", hz, loud=0.95)  # among the others
    limits = {"seconds_per_asset": 3, "memory_bytes": 700 << 20}
    config = make_config(folder, features=["audio-mfccseg", "audio-touchy"], limits=limits, shard_clips=8)
    with shared_engine(config):
        ingest_corpus(config, CORPUS, DT)
        report, committed = extract_plan(config, plan_corpus(config, CORPUS))
    return config, report, committed


def test_each_deadly_recording_is_quarantined_with_the_way_it_ended_its_worker(poisoned):
    config, _, _ = poisoned
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    found = {row["source_id"].rpartition("-")[2]: row["code"] for row in rows if row["feature"] == "audio-touchy@1"}
    assert found == CODE_OF_ACT
    assert {row["stage"] for row in rows} == {"extract"}
    assert all("--only failed" in row["replay"] for row in rows)


def test_the_neighbours_of_deadly_recordings_are_good(poisoned):
    config, report, committed = poisoned
    counts = {count.feature: count for count in committed.features}
    assert counts["audio-touchy@1"].written == NUM_GOOD
    assert counts["audio-touchy@1"].quarantined == len(CODE_OF_ACT)
    assert report.shards == 2
    assert verify_store(StoreLayout(config.store)) == ()


def test_a_failing_extractor_costs_the_other_features_nothing(poisoned):
    """A death takes all features of the recording, since none can be told apart; a plain exception takes its own."""
    config, _, _ = poisoned
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    lost = {row["source_id"].rpartition("-")[2] for row in rows if row["feature"] == "audio-mfccseg@1"}
    assert not lost & {"raise", "misshape"}
    assert {row["detail"] for row in rows if row["code"] == "extractor_error"} == {
        "audio-touchy@1 failed on this clip: ValueError: no such tone"
    }


def test_the_ledger_knows_and_a_night_does_not_try_them_again(poisoned):
    config, _, _ = poisoned
    assert {s.state for s in read_states(config, CORPUS) if s.feature == "audio-touchy@1"} == {State.FAILED}
    assert plan_corpus(config, CORPUS).is_empty
    assert not plan_corpus(config, CORPUS, only=Only.FAILED).is_empty


def test_what_killed_a_worker_is_told_in_words_that_no_run_or_machine_is_in(poisoned):
    config, _, _ = poisoned
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    details = {row["detail"] for row in rows if row["code"] in ("worker_killed", "timeout", "memory")}
    assert details == {"extracting it ended its worker process, alone and twice"}


def test_a_worker_that_hangs_dies_with_its_run(touchy, tmp_path):
    """Killed while a worker is deep in its work and reads nothing: the kernel must end it."""
    (tmp_path / "media").mkdir()
    write_sound(tmp_path / "media" / "hang.wav", 1_300, loud=0.95)
    config = write_config(tmp_path, config_table(tmp_path, features=["audio-touchy"]))
    folders = [str(touchy), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    child = Child("fill", config, environment={"PYTHONPATH": os.pathsep.join(filter(None, folders))})
    while not list(tmp_path.glob("store/_staging/shard-*/audio-touchy@1")):
        assert child.process.poll() is None, child.process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.3)
    (worker,) = child.workers()
    child.process.kill()
    try:
        assert child.wait() == KILLED
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
