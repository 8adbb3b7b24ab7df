"""Workers that are killed at any moment cost a micro-batch each, and not a byte of what is committed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_extractor import LOG, install, read_log, read_setups
from kill_corpus import CORPUS, DT, config_table, differing, tree_digest, write_config, write_film, write_sound
from kill_process import KILLED, Child

from mmpipe.config import Config, parse_config
from mmpipe.steps.extract.extract import ExtractReport, extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.verify import verify_store

pytest_plugins = ("kill_fixtures",)

NUM_FILMS, CLIPS_PER_FILM = 50, 6
LONG = bool(os.environ.get("MMPIPE_LONG_KILLS"))
FEATURES = ["audio-batches", "video-batches", "audio-mfccseg"]


class Place:
    """A corpus, and a store for each test."""

    def __init__(self, folder: Path, log: Path, site: Path) -> None:
        self.folder, self.log, self.site = folder, log, site

    def table(self, name: str, media: str, **corpus: object) -> dict:
        """Return the config of a store over some media, as a table."""
        settings = {"root": str(self.folder / media), "features": FEATURES, "shard_clips": 60, **corpus}
        table = config_table(self.folder, **settings)
        features = {"audio-batches": {"max_clips": 5}, "video-batches": {"max_clips": 7}}
        return table | {"store": str(self.folder / name), "features": features}

    def fill(self, config: Config) -> ExtractReport:
        """Ingest and extract."""
        ingest_corpus(config, CORPUS, DT)
        return extract_plan(config, plan_corpus(config, CORPUS))[0]

    def batches(self) -> Counter[str]:
        """Return what was computed since this was asked last, and how often."""
        found = Counter(f"{entry['feature']} {entry['clips']}" for entry in read_log(self.log))
        self.log.unlink(missing_ok=True)
        return found


@pytest.fixture(scope="module")
def place(kill_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Install the extractors and keep two workers that know where to write their log."""
    site, log = tmp_path_factory.mktemp("site"), kill_folder / "batches"
    install(site)
    sys.path.insert(0, str(site))
    os.environ[LOG] = str(log)
    found = Place(kill_folder, log, site)
    with pytest.MonkeyPatch.context() as patch, shared_engine(parse_config(found.table("none", "none"))):
        patch.setattr("mmpipe.steps.extract.extract.measure_speed", lambda *_, **__: None)  # it asks extractors too
        yield found
    sys.path.remove(str(site))
    del os.environ[LOG]


@pytest.fixture(scope="module")
def films(place: Place) -> tuple[dict, dict[str, str], Counter[str]]:
    """Return the settings of 300 clips, what their store holds when nothing happens, and what was computed for it."""
    (place.folder / "films").mkdir()
    for number in range(NUM_FILMS):
        write_film(place.folder / "films" / f"film-{number:02}.mp4", number, frames=12)
    settings = {"clips": {"rule": "window", "length_s": 1 / CLIPS_PER_FILM, "hop_s": 1 / CLIPS_PER_FILM}}
    config = parse_config(place.table("whole", "films", **settings))
    report = place.fill(config)
    assert report.computed == 3 * NUM_FILMS * CLIPS_PER_FILM and not report.quarantined
    pids = Counter((setup["pid"], setup["setup"]) for setup in read_setups(place.log))
    assert len(pids) > 1 and set(pids.values()) == {1}, "five shards, and each worker set each extractor up once"
    batches = place.batches()
    assert set(batches.values()) == {1}
    return settings, tree_digest(config.store), batches


class Killer(threading.Thread):
    """Kills the worker that began a micro-batch last, each time a drawn number of them was begun."""

    def __init__(self, log: Path, seed: int, most: int) -> None:
        super().__init__(daemon=True)
        self._log, self._draw, self._most = log, random.Random(seed), most
        self.kills = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        """Kill until the end."""
        seen, wait_for = 0, self._draw.randint(1, 12)
        while not self.is_over.is_set() and self.kills < self._most:
            lines = self._log.read_text().splitlines() if self._log.exists() else []
            if len(lines) - seen < wait_for:
                time.sleep(0.001)
                continue
            time.sleep(self._draw.uniform(0, 0.02))  # anywhere in the batch, or behind it
            try:
                os.kill(json.loads(lines[-1])["pid"], signal.SIGKILL)
                self.kills += 1
            except (ProcessLookupError, ValueError):
                pass
            seen, wait_for = len(lines), self._draw.randint(1, 12)


@pytest.mark.parametrize("seed", range(1, 9) if LONG else [1])
def test_workers_killed_at_random_cost_a_batch_each_and_no_byte(place, films, seed: int) -> None:
    settings, whole, expected = films
    config = parse_config(place.table(f"killed-{seed}", "films", **settings))
    killer = Killer(place.log, seed, most=40 if LONG else 7)
    killer.start()
    report = place.fill(config)
    killer.is_over.set()
    killer.join()
    batches = place.batches()
    assert report.computed == 3 * NUM_FILMS * CLIPS_PER_FILM and not report.quarantined
    assert differing(tree_digest(config.store), whole) == []
    assert batches.keys() == expected.keys(), "every batch was the one of an undisturbed run"
    assert killer.kills >= 5
    assert batches.total() - expected.total() <= killer.kills
    assert not list(config.store.glob("_staging/spool-*"))


def test_a_run_that_is_killed_goes_on_after_its_last_batches(place, films) -> None:
    settings, whole, expected = films
    (place.folder / "run").mkdir()
    table = place.table("run/store", "films", **settings)
    folders = [str(place.site), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    child = Child(
        "fill",
        write_config(place.folder / "run", table),
        environment={"PYTHONPATH": os.pathsep.join(filter(None, folders)), LOG: str(place.log)},
    )
    while len(read_log(place.log)) < expected.total() // 3:
        assert child.process.poll() is None, child.process.stderr.read()
        time.sleep(0.002)
    child.process.kill()
    assert child.wait() == KILLED
    first = place.batches()
    config = parse_config(table)
    assert list(config.store.glob("_staging/spool-*"))
    place.fill(config)
    second = place.batches()
    assert differing(tree_digest(config.store), whole) == []
    assert (first + second).keys() == expected.keys()
    assert (first + second).total() - expected.total() <= 2, "one that was begun by each of two workers"
    assert not list(config.store.glob("_staging/spool-*"))


def test_a_clip_that_ends_its_worker_is_found_in_its_batch(place) -> None:
    media = place.folder / "poison"
    media.mkdir()
    for number in range(8):
        write_sound(media / f"good-{number}.wav", 300 + 37 * number)
    write_sound(media / "good-3-die.wav", 1_000, loud=0.95)
    config = parse_config(place.table("poisoned", "poison", features=["audio-batches", "audio-mfccseg"]))
    report = place.fill(config)
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert {(row["source_id"], row["feature"], row["code"]) for row in rows} == {
        ("good-3-die", "audio-batches@1", "worker_killed"),
        ("good-3-die", "audio-mfccseg@1", "worker_killed"),
    }
    assert {row["detail"] for row in rows} == {"extracting it ended its worker process, alone and twice"}
    assert report.computed == 2 * 8 and verify_store(StoreLayout(config.store)) == ()
    last = read_log(place.log, "audio-batches")[-2:]
    assert [len(entry["clips"]) for entry in last] == [5, 3], "the good ones were computed together at last"
    place.batches()
