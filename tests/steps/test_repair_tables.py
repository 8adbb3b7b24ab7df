"""Damage the tables that an ingest and people made, one by one, and get the bytes of the undisturbed store."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_maker import CORPUS, DT, LATER, extract, ingest, make_config, tree, write_film, write_text

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.restore import Step
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.quarantine.release_quarantine import release_quarantined
from mmpipe.store.admitted import admit, read_admitted
from mmpipe.store.audit import read_events
from mmpipe.store.layout import (
    ADMITTED,
    ASSETS,
    BANKS,
    CLIPS,
    PRINTS,
    QUARANTINE,
    SIGNALS,
    SURVEYS,
    StoreLayout,
)
from mmpipe.store.prints import read_prints
from mmpipe.store.revisions import list_revisions, read_head, read_manifest
from mmpipe.store.signals import read_signals
from mmpipe.store.surveys import read_surveys

pytestmark = pytest.mark.usefixtures("warm_workers")

UNFINISHED = ("_staging", "_runs", "_leases")
MEASURED = (SIGNALS, SURVEYS, PRINTS)
AGAIN = (*MEASURED, BANKS, ADMITTED)
ONLY_A_COPY = (CLIPS, ASSETS, QUARANTINE)
NOISY = {"modality": "audio", "noise": {"bank": "babble", "snr_db": 3.0}}
BANK = {"clips": 2, "voices": 2, "length_s": 1.0, "sample_rate_hz": 8_000}


def config_of(folder: Path, **corpus: Any) -> Config:
    settings: dict[str, Any] = {
        "features": ["audio-mfccseg.noisy"],
        "renditions": {"noisy": NOISY},
        "banks": {"babble": BANK},
        "split": {"val": 0.0, "test": 0.0},
        "signals": {"enabled": True},
        "filters": {"short": "duration_s > 0.2"},
        "dedup": {"near": True},
    }
    return make_config(folder, **(settings | corpus))


def write_noise(path: Path, seed: int, gain: float = 0.5) -> None:
    """Write noise whose colour and loudness change, as of no other seed."""
    random = np.random.default_rng(seed)
    times_N = np.arange(20_000) / 8_000
    parts = [
        np.sin(2 * np.pi * (330 * 1.25**band) * times_N + random.uniform(0, 6))
        * np.interp(times_N * 12, np.arange(32), random.uniform(0.1, 1, 32))
        for band in range(8)
    ]
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes((np.sum(parts, axis=0) / 8 * gain * 32_000).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Iterator[Path]:
    """Make a date of two nights and a later one, with a twin that was dropped, one that was let in, and a bank."""
    folder = tmp_path_factory.mktemp("tables")
    media, config = folder / "media", config_of(folder)
    media.mkdir()
    for number in range(3):
        write_noise(media / f"first-{number}.wav", number)
    write_noise(media / "first-copy.wav", 0, gain=0.25)
    write_noise(media / "released.wav", 1, gain=0.25)
    write_film(media / "broken.mp4")
    data = bytearray((media / "broken.mp4").read_bytes())
    data[100 : len(data) // 2] = bytes(255 - byte for byte in data[100 : len(data) // 2])
    (media / "broken.mp4").write_bytes(data)
    write_film(media / "film.mp4")
    write_text(media / "film.txt", "what is said in it\n")
    ingest(config)
    extract(config)
    write_noise(media / "second.wav", 20)
    shutil.copy(media / "second.wav", media / "second-same.wav")
    write_noise(media / "second-copy.wav", 20, gain=0.25)
    ingest(config)
    extract(config)
    release_quarantined(config, CORPUS, "released.wav", "it is another take")
    write_noise(media / "third.wav", 30)
    write_noise(media / "third-copy.wav", 2, gain=0.25)
    ingest(config, LATER)
    extract(config)
    assert find_faults(StoreLayout(config.store)) == ()
    yield folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """Return the config over a copy of the store and of the raw files."""
    shutil.copytree(made / "store", tmp_path / "store")
    shutil.copytree(made / "media", tmp_path / "media")
    return config_of(tmp_path)


def content(root: Path) -> dict[str, str]:
    """Return what is committed, by name."""
    return {name: digest for name, digest in tree(root).items() if name.split("/")[0] not in UNFINISHED}


def object_of(config: Config, dataset: str, dt: str = DT, revision: int = 0) -> Path:
    layout = StoreLayout(config.store).dataset(CORPUS, dataset)
    manifest = read_manifest(layout, dt, revision) if revision else read_head(layout, dt)
    assert manifest is not None
    return layout.object(manifest.shards[0].files[0].sha256)


def damage(path: Path, how: str, view_too: bool = True) -> None:
    """Flip a bit of an object, or delete it, and with it what the view shows of it."""
    path.chmod(0o644)
    data = path.read_bytes()
    path.unlink()
    for other in path.parents[2].glob("data/dt=*/*") if view_too else ():
        if hashlib.sha256(other.read_bytes()).hexdigest() == path.name:
            other.unlink()
    if how == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def repair(config: Config, copy: Path | None = None, dry_run: bool = False, accept_loss: bool = False) -> list[Step]:
    layout = StoreLayout(config.store)
    return list(repair_store(config, layout, None, StoreLayout(copy) if copy else None, dry_run, accept_loss))


def faults(config: Config) -> dict[str, str]:
    """Return the way out of every finding, by its path."""
    return {finding.path: finding.way_out for finding in find_faults(StoreLayout(config.store))}


def test_the_corpus_of_this_file_has_what_it_tests(made: Path) -> None:
    layout = StoreLayout(made / "store")
    verdicts = read_prints(layout, CORPUS).group_by("partition", "verdict").len().rows()
    assert {(dt, verdict) for dt, verdict, _ in verdicts} >= {(DT, ""), (DT, "near_duplicate"), (LATER, "")}
    assert read_admitted(layout, CORPUS).codes_of
    assert any(record.faults for record in read_surveys(layout, CORPUS).values())
    for name in (*MEASURED, CLIPS, ASSETS):
        assert len(list_revisions(layout.dataset(CORPUS, name), DT)) > 1, name
        assert layout.dataset(CORPUS, name).partitions() == (DT, LATER)


@pytest.mark.parametrize("how", ["flip", "gone"])
@pytest.mark.parametrize("dataset", AGAIN)
def test_a_damaged_table_is_named_and_comes_out_the_same(config: Config, made: Path, dataset: str, how: str) -> None:
    victim = object_of(config, dataset)
    damage(victim, how)
    (path,) = [path for path in faults(config) if "/objects/" in path]
    assert path == str(victim.relative_to(config.store))
    assert "verify --repair" in faults(config)[path] and "--from COPY" in faults(config)[path]
    before = tree(config.store)
    foreseen = repair(config, dry_run=True)
    assert tree(config.store) == before
    done = repair(config)
    assert done == foreseen
    assert (done[0].action, done[0].path) == ("made", f"{CORPUS}/{dataset} dt={DT}")
    assert faults(config) == {}
    assert content(config.store) == content(made / "store")
    aside = [path.name for path in (config.store / "_staging" / "damaged").rglob("*") if path.is_file()]
    assert aside == ([victim.name] if how == "flip" else [])


def test_tables_of_a_date_are_measured_together_and_other_dates_are_not_opened(config: Config, made: Path) -> None:
    for path in (config.store.parent / "media").glob("third*"):
        path.unlink()
    for dataset in MEASURED:
        damage(object_of(config, dataset), "flip")
        damage(object_of(config, dataset, revision=1), "gone")
    repair(config)
    assert faults(config) == {}
    wanted = content(made / "store")
    missing = {name for name in wanted if name not in content(config.store)}
    assert {name.split("/")[2] for name in missing} == {"objects"} and len(missing) <= 2 * len(MEASURED)
    assert content(config.store) == {name: digest for name, digest in wanted.items() if name not in missing}


def test_a_later_date_is_measured_against_what_older_ones_keep(config: Config, made: Path) -> None:
    for dataset in MEASURED:
        damage(object_of(config, dataset, LATER), "gone")
    repair(config)
    assert content(config.store) == content(made / "store")


@pytest.mark.parametrize("dataset", [*AGAIN, *ONLY_A_COPY])
def test_what_the_view_still_shows_is_taken_from_there(config: Config, made: Path, dataset: str) -> None:
    damage(object_of(config, dataset), "flip", view_too=False)
    done = repair(config)
    assert done[0].action == "restored" and {step.action for step in done[1:]} == {"healed"}
    assert faults(config) == {}
    assert content(config.store) == content(made / "store")


@pytest.mark.parametrize("how", ["flip", "gone"])
def test_a_copy_comes_before_making_again(config: Config, made: Path, how: str) -> None:
    shutil.rmtree(config.store.parent / "media")
    victims = [object_of(config, dataset) for dataset in (*AGAIN, *ONLY_A_COPY)]
    for victim in victims:
        damage(victim, how)
    done = repair(config, made / "store")
    restored = [step.path for step in done if step.action == "restored"]
    assert sorted(restored) == sorted(str(path.relative_to(config.store)) for path in victims)
    assert {step.action for step in done} == {"restored", "healed"}
    assert faults(config) == {}
    assert content(config.store) == content(made / "store")


@pytest.mark.parametrize("dataset", ONLY_A_COPY)
def test_what_only_a_copy_has_is_left_and_it_says_so(config: Config, made: Path, dataset: str) -> None:
    victim = object_of(config, dataset)
    damage(victim, "flip")
    (left,) = [step for step in repair(config, accept_loss=True) if step.path == f"{CORPUS}/{dataset} dt={DT}"]
    assert left.action == "left" and "--from COPY" in left.detail
    assert str(victim.relative_to(config.store)) in faults(config)
    assert victim.is_file()  # nothing is set aside for nothing
    repair(config, made / "store")
    assert content(config.store) == content(made / "store")


def test_without_the_raw_files_a_table_is_left_or_given_up(config: Config, tmp_path: Path) -> None:
    (tmp_path / "media").rename(tmp_path / "elsewhere")
    layout, before = StoreLayout(config.store), read_signals(StoreLayout(config.store), CORPUS)
    damage(object_of(config, SIGNALS), "gone")
    (left,) = [step for step in repair(config) if step.path == f"{CORPUS}/{SIGNALS} dt={DT}"]
    assert left.action == "left" and "is not a folder" in left.detail and "--accept-loss" in left.detail
    assert repair(config, dry_run=True, accept_loss=True) == (done := repair(config, accept_loss=True))
    assert ("given up", f"{CORPUS}/{SIGNALS} dt={DT}") in [(step.action, step.path) for step in done]
    assert faults(config) == {}
    assert read_events(layout)[-1].kind == "accept-loss"
    (tmp_path / "elsewhere").rename(tmp_path / "media")
    ingest(config)
    again = read_signals(layout, CORPUS)
    assert again.sort("key").equals(before.sort("key"))


def test_what_is_measured_otherwise_now_becomes_a_revision(config: Config, tmp_path: Path) -> None:
    """Of other settings the values are others: what is measured is complete, and the next ingest wants just that."""
    layout = StoreLayout(config.store)
    before = read_signals(layout, CORPUS, (DT,))
    damage(object_of(config, SIGNALS), "gone")
    other = config_of(tmp_path, damage={"keep": True, "min_share": 0.5})
    foreseen = [step for step in repair(other, dry_run=True) if step.action == "made"]
    (done,) = [step for step in repair(other) if step.action == "made"]
    assert "measured anew" in done.detail and foreseen == [done]
    assert faults(config) == {}
    after = read_signals(layout, CORPUS, (DT,))
    assert set(after["key"]) >= set(before["key"]) and set(after["settings"]) != set(before["settings"])


def test_a_bank_of_other_clips_is_left_or_given_up_and_drawn_anew(config: Config, tmp_path: Path) -> None:
    damage(object_of(config, BANKS), "flip")
    other = config_of(tmp_path, banks={"babble": {**BANK, "seed": 7}})
    (left,) = [step for step in repair(other) if step.action == "left"]
    assert left.path == f"{CORPUS}/{BANKS} dt={DT}" and "`mmpipe run` draws others" in left.detail
    assert "given up" in {step.action for step in repair(other, accept_loss=True)}
    assert faults(config) == {}
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty and faults(config) == {}


def test_admissions_that_no_log_tells_of_are_left_to_people(config: Config) -> None:
    layout = StoreLayout(config.store)
    admit(layout.dataset(CORPUS, ADMITTED), LATER, [("near_duplicate", "0" * 64)])
    damage(object_of(config, ADMITTED, LATER), "gone")
    (left,) = [step for step in repair(config) if step.action == "left"]
    assert "`mmpipe quarantine release` lets in again what should be" in left.detail
    with pytest.raises(StoreError):
        read_admitted(layout, CORPUS)
    repair(config, accept_loss=True)
    assert faults(config) == {}
    assert set(read_admitted(layout, CORPUS).codes_of).isdisjoint({"0" * 64})
    assert read_admitted(layout, CORPUS).codes_of  # those of the other date


def test_damaged_bytes_of_an_old_revision_are_set_aside(config: Config) -> None:
    victim = object_of(config, SIGNALS, revision=1)
    damage(victim, "flip")
    assert list(faults(config)) == [str(victim.relative_to(config.store))]
    assert repair(config)[0].action == "set aside"
    assert faults(config) == {}


@pytest.mark.parametrize("kind", ["tars", "dates in paths"])
def test_however_a_corpus_lies_there_its_tables_are_measured_again(tmp_path: Path, kind: str) -> None:
    """Of tars it is the mirror that is read; where paths tell the dates, what was added to a date since is left out."""
    raw = tmp_path / "raw"
    for date in (DT, LATER):
        (raw / date).mkdir(parents=True)
        for number in range(2):
            write_noise(raw / date / f"{date}-{number}.wav", int(date[-2:]) + 30 * number)
    more: dict[str, Any] = {"dates": {"rule": "path", "pattern": r"(?P<dt>\d{4}-\d{2}-\d{2})/"}}
    if kind == "tars":
        more = {"source": {"kind": "tars"}}
        (tmp_path / "media").mkdir()
        with tarfile.open(tmp_path / "media" / "all.tar", "w") as tar:
            for path in sorted(raw.rglob("*.wav")):
                tar.add(path, path.name)
    else:
        raw.rename(tmp_path / "media")
    config = config_of(tmp_path, **more)
    ingest(config)
    if kind != "tars":
        ingest(config, LATER)
        write_noise(tmp_path / "media" / DT / "since.wav", 99)
    before = content(config.store)
    for dataset in MEASURED:
        damage(object_of(config, dataset), "flip")
    repair(config)
    assert faults(config) == {}
    assert content(config.store) == before
