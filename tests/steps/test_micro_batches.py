"""Several clips at once: which ones, what a bad one costs, and what is loaded, read and counted on the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batch_extractor import LOG, STOP, BatchParams, SoundBatches, calls_left, install, read_log, read_setups
from corpus_maker import CORPUS, DT, make_config, write_text, write_tone
from kill_corpus import differing, tree_digest, write_film, write_sound

from mmpipe.config import Config
from mmpipe.engine.inline import InlineEngine
from mmpipe.features.extractor import feature_name
from mmpipe.media.decode import DecodedClip
from mmpipe.steps.extract import extract_shard
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport, extract_plan
from mmpipe.steps.extract.shard_plan import plan_works
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.plan import ShardDue, plan_corpus
from mmpipe.steps.plan.shard_work import ShardDone, ShardWork
from mmpipe.steps.workers import compute
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.schema import freeze_schema
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store
from mmpipe.types import Clip, TextClip, TextNeeds

LOUD = {"hang": 1_300, "swell": 1_600, "raise": 1_900, "leave": 2_200}  # what a pitch does to `audio-batches`


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the extractors, as far as this process can tell."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    sys.path.insert(0, str(site))
    yield
    sys.path.remove(str(site))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where extractors say what they were given; here all work is done in this process."""
    path = tmp_path / "batches"
    monkeypatch.setenv(LOG, str(path))
    monkeypatch.setattr("mmpipe.steps.extract.extract.shared_engine", lambda _: nullcontext(InlineEngine()))
    monkeypatch.setattr("mmpipe.steps.extract.extract.measure_speed", lambda *_, **__: None)  # it asks extractors too
    monkeypatch.setattr(compute, "_kept", type(compute._kept)())
    return path


def fill(config: Config) -> tuple[ExtractReport, CommitReport]:
    """Ingest and extract."""
    ingest_corpus(config, CORPUS, DT)
    return extract_plan(config, plan_corpus(config, CORPUS))


def tones(folder: Path, count: int, words: bool = False, seconds: float = 0.1) -> Path:
    """Write as many different tones, each with its caption if asked."""
    folder.mkdir(parents=True)
    for number in range(count):
        write_tone(folder / f"tone-{number:02}.wav", 300 + 40 * number, seconds=seconds)
        if words:
            write_text(folder / f"tone-{number:02}.txt", f"tone number {number}")
    return folder


def features(max_clips: int = 5, max_bytes: int = 0) -> dict:
    """Return the table of the extractors."""
    return {name: {"max_clips": max_clips, "max_bytes": max_bytes} for name in ("audio-batches", "video-batches")}


def configure(folder: Path, wanted: list[str], table: dict | None = None, **corpus: object) -> Config:
    """Return a config of some features."""
    config = make_config(folder, features=wanted, **corpus)
    return config.model_copy(update={"features": table or features()})


def written(committed: CommitReport) -> dict[str, tuple[int, int]]:
    """Return by feature what was written and quarantined."""
    return {count.feature: (count.written, count.quarantined) for count in committed.features}


def sizes(entries: list[dict]) -> list[int]:
    return [len(entry["clips"]) for entry in entries]


# --------------------------------------------------------------------------- which clips


def test_a_batch_is_filled_over_assets_and_ends_with_the_shard(log: Path, tmp_path: Path) -> None:
    tones(tmp_path / "media", 12)
    report, committed = fill(configure(tmp_path, ["audio-batches"], shard_clips=7))
    assert sizes(read_log(log)) == [5, 2, 5]
    assert written(committed) == {"audio-batches@1": (12, 0)} and report.computed == 12


def test_a_batch_ends_where_its_media_would_grow_too_large(log: Path, tmp_path: Path) -> None:
    tones(tmp_path / "media", 5)
    fill(configure(tmp_path, ["audio-batches"], features(max_clips=5, max_bytes=7_000)))  # 3,200 a clip
    assert sizes(read_log(log)) == [2, 2, 1]
    assert max(entry["bytes"] for entry in read_log(log)) <= 7_000


def test_the_batches_of_a_feature_do_not_depend_on_the_others(log: Path, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for number in range(7):
        write_film(tmp_path / "media" / f"film-{number}.mp4", number)
    clips = {"rule": "window", "length_s": 0.2, "hop_s": 0.1}  # they overlap, and pictures end later than sound
    found = []
    for turn, wanted in enumerate((["audio-batches"], ["audio-batches", "video-batches", "audio-mfccseg"])):
        config = configure(tmp_path, wanted, clips=clips).model_copy(update={"store": tmp_path / f"store-{turn}"})
        log.unlink(missing_ok=True)
        fill(config)
        found.append([entry["clips"] for entry in read_log(log, "audio-batches")])
    assert found[0] == found[1] and len(found[0]) > 3
    assert read_log(log, "video-batches")


def decoded(end_ns: int, number: int) -> DecodedClip:
    clip = Clip(key=str(number), asset_id="a", start_ns=0, end_ns=end_ns, text="")
    return DecodedClip(clip=clip, media={TextNeeds(): TextClip(text="x")})


def test_whatever_order_the_decoder_has_clips_come_in_theirs() -> None:
    clips = [decoded(10 + number, number) for number in range(6)]
    for seed in range(20):
        shuffled = [clips[number] for number in np.random.default_rng(seed).permutation(6)]
        in_order = extract_shard._in_order(iter(shuffled), [clip.clip.key for clip in clips])
        assert [clip.clip.key for clip in in_order] == list("012345")


# --------------------------------------------------------------------------- bad clips, and equal ones


@pytest.mark.parametrize(
    ("act", "code", "detail"),
    [
        ("raise", "extractor_error", "audio-batches@1 failed on this clip: ValueError: no such tone"),
        ("hang", "too_high", "a tone that nobody hears"),
        ("swell", "nonfinite", "audio-batches@1 has 1 NaN or infinite of 64 numbers"),
    ],
)
def test_a_bad_clip_costs_its_batch_nothing(log: Path, tmp_path: Path, act: str, code: str, detail: str) -> None:
    tones(tmp_path / "media", 6)
    write_sound(tmp_path / "media" / "tone-02-bad.wav", LOUD[act], seconds=0.1, loud=0.95)
    config = configure(tmp_path, ["audio-batches"])
    _, committed = fill(config)
    (row,) = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert (row["code"], row["detail"]) == (code, detail) and row["source_id"].endswith("bad")
    assert written(committed) == {"audio-batches@1": (6, 1)}
    assert verify_store(StoreLayout(config.store)) == ()


def test_equal_sounds_are_computed_once_also_while_the_first_still_waits(log: Path, tmp_path: Path) -> None:
    tones(tmp_path / "media", 3, words=True)
    for number in range(3):  # the same sounds with other words: other assets, the same streams
        twin = tmp_path / "media" / f"twin-{number}.wav"
        twin.write_bytes((tmp_path / "media" / f"tone-{number:02}.wav").read_bytes())
        write_text(twin.with_suffix(".txt"), f"another text {number}")
    report, committed = fill(configure(tmp_path, ["audio-batches"]))
    (batch,) = read_log(log)
    assert len(set(batch["clips"])) == 3 == len(batch["clips"])
    assert written(committed) == {"audio-batches@1": (6, 0)} and (report.computed, report.reused) == (3, 3)


def test_equal_sounds_that_cannot_be_computed_fall_out_together(log: Path, tmp_path: Path) -> None:
    tones(tmp_path / "media", 2, words=True)
    for name in ("x", "y"):
        write_sound(tmp_path / "media" / f"{name}.wav", LOUD["raise"], seconds=0.1, loud=0.95)
        write_text(tmp_path / "media" / f"{name}.txt", f"words of {name}")
    config = configure(tmp_path, ["audio-batches"])
    _, committed = fill(config)
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert {row["source_id"]: row["code"] for row in rows} == {"x": "extractor_error", "y": "extractor_error"}
    assert written(committed) == {"audio-batches@1": (2, 2)}
    assert len(read_log(log)) == 1 + 3  # all of them, then each alone


# --------------------------------------------------------------------------- loaded, read and counted


def test_an_extractor_is_set_up_once_however_many_shards_and_renamed_features_there_are(
    log: Path, tmp_path: Path
) -> None:
    tones(tmp_path / "media", 9)
    table = {"audio-batches": {}, "again": {"extractor": "audio-batches"}}
    report, _ = fill(configure(tmp_path, ["audio-batches", "again"], table, shard_clips=3))
    assert report.shards == 3 and len(read_log(log)) == 6
    assert [(entry["setup"], entry["device"]) for entry in read_setups(log)] == [("audio-batches", "cpu")]


def test_one_pass_over_a_file_serves_all_features_of_its_tracks(log: Path, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for number in range(3):
        write_film(tmp_path / "media" / f"film-{number}.mp4", number)
    wanted = ["audio-batches", "video-batches", "audio-mfccseg", "video-hogdct"]
    report, _ = fill(configure(tmp_path, wanted))
    (meter,) = report.meters
    assert meter.file_bytes == sum(path.stat().st_size for path in (tmp_path / "media").iterdir())
    assert meter.frames == 2 * 3 * 6 and meter.samples > 0  # two sizes of three films of six pictures
    assert (meter.used_units, meter.padded_units) == (6, 4)  # two batches of three where five are wanted
    assert meter.media_ns == 2 * sum(clip_ns(tmp_path))
    assert meter.media_bytes > 0 and meter.worker and meter.ended_s > meter.started_s
    assert min(meter.decode_s, meter.encode_s, meter.write_s) > 0
    assert meter.decode_s + meter.encode_s + meter.write_s <= meter.ended_s - meter.started_s


def clip_ns(folder: Path) -> list[int]:
    spine = read_spine(StoreLayout(folder / "store"), CORPUS)
    return [row["end_ns"] - row["start_ns"] for row in spine.iter_rows(named=True)]


def test_a_spool_is_removed_with_its_shard_and_counts_for_nothing_where_all_is_made_anew(
    log: Path, tmp_path: Path
) -> None:
    tones(tmp_path / "media", 6)
    config = configure(tmp_path, ["audio-batches"])
    ingest_corpus(config, CORPUS, DT)
    (due,) = plan_corpus(config, CORPUS).shards
    assert works_of(config, due) == works_of(config, due), "a killed run is gone on with"
    anew = replace(due, reuse=False)
    assert works_of(config, anew)[0].fresh not in ("", works_of(config, anew)[0].fresh)
    extract_plan(config, plan_corpus(config, CORPUS))
    assert not list(config.store.glob("_staging/*spool*")) and not list(config.store.glob("_staging/shard-*"))


def test_what_a_dead_run_has_spooled_is_forgotten_and_collected_like_all_unfinished_work(
    log: Path, tmp_path: Path
) -> None:
    tones(tmp_path / "media", 6)
    write_sound(tmp_path / "media" / "zzz.wav", LOUD["leave"], seconds=0.1, loud=0.95)  # in the second batch
    config = configure(tmp_path, ["audio-batches", "audio-mfccseg"])
    ingest_corpus(config, CORPUS, DT)
    with pytest.raises(MemoryError):  # here there is no worker that could be killed
        extract_plan(config, plan_corpus(config, CORPUS))
    assert sizes(read_log(log)) == [5, 2]
    assert len(spools(config)) == 2
    forget(config, CORPUS, "tone-01", "asked for")
    assert not spools(config), "both speak of it"
    with pytest.raises(MemoryError):
        extract_plan(config, plan_corpus(config, CORPUS))
    assert sizes(read_log(log))[2:] == [5, 1]
    later = file_system_time(StoreLayout(config.store)) + 30 * 86_400
    assert not [item for item in collect_garbage(config).items if "spool" in item.path], "it is young"
    collect_garbage(config, delete=True, clock=lambda _: later)
    assert not spools(config)


def test_stopped_again_and_again_a_run_ends_with_the_bytes_of_one_that_was_not(log: Path, tmp_path: Path) -> None:
    """Twins, silent films, bad clips, damaged files: whatever is settled at a stop, it is settled the same way."""
    media = tones(tmp_path / "media", 3, words=True, seconds=0.5)
    for number in range(2):
        (media / f"twin-{number}.wav").write_bytes((media / f"tone-{number:02}.wav").read_bytes())
        write_text(media / f"twin-{number}.txt", f"another text {number}")
        write_film(media / f"film-{number}.mp4", number, sound=number == 0)
    write_sound(media / "tone-01-bad.wav", LOUD["raise"], seconds=0.5, loud=0.95)
    broken = write_film(media / "film-2.mp4", 2, frames=24)
    clips = {"rule": "window", "length_s": 0.25, "hop_s": 0.125}
    wanted = ["audio-batches", "video-batches", "text-ngrams"]
    configs = [configure(tmp_path, wanted, features(max_clips=3), clips=clips, max_quarantined=1.0) for _ in range(2)]
    whole, stopped = (
        config.model_copy(update={"store": tmp_path / name})
        for config, name in zip(configs, ("whole", "stopped"), strict=True)
    )
    for config in (whole, stopped):
        ingest_corpus(config, CORPUS, DT)
    spoil(broken)
    report, _ = extract_plan(whole, plan_corpus(whole, CORPUS))
    assert report.reused and report.quarantined["extractor_error"]
    expected = sorted(str(entry["clips"]) for entry in read_log(log))
    log.unlink()
    runs = 1
    while True:
        assert runs < 30
        calls_left[:] = [STOP, *[""] * 5]  # four calls get through: a batch of three and each of its clips
        try:
            extract_plan(stopped, plan_corpus(stopped, CORPUS))
            break
        except MemoryError:
            runs += 1
    calls_left.clear()
    found = [str(entry["clips"]) for entry in read_log(log)]
    assert sorted(set(found)) == sorted(set(expected)) and runs >= 4
    assert len(found) - len(expected) <= 4 * (runs - 1), "what is done again is the batch that was not finished"
    assert differing(tree_digest(stopped.store), tree_digest(whole.store)) == []


def test_a_run_that_goes_on_counts_only_what_it_makes_itself(log: Path, tmp_path: Path) -> None:
    """One file of ten clips: all of it is decoded again, and four of its values are new."""
    (tmp_path / "media").mkdir()
    write_tone(tmp_path / "media" / "long.wav", seconds=1.0)
    clips = {"rule": "window", "length_s": 0.1, "hop_s": 0.1}
    config = configure(tmp_path, ["audio-batches"], features(max_clips=3), clips=clips)
    ingest_corpus(config, CORPUS, DT)
    calls_left[:] = [STOP, *[""] * 3]  # two batches get through
    with pytest.raises(MemoryError):
        extract_plan(config, plan_corpus(config, CORPUS))
    calls_left.clear()
    report, committed = extract_plan(config, plan_corpus(config, CORPUS))
    (meter,) = report.meters
    assert written(committed) == {"audio-batches@1": (10, 0)}
    assert (report.computed, report.reused, meter.reused) == (4, 6, 6)
    assert (meter.clips, meter.clip_ns) == (4, sum(clip_ns(tmp_path)) * 4 // 10)
    assert meter.samples > 6 * 800, "the decoder went through all of it"


def test_what_a_worker_of_the_same_run_has_made_is_the_runs_own(log: Path, tmp_path: Path) -> None:
    tones(tmp_path / "media", 8)
    config = configure(tmp_path, ["audio-batches"], features(max_clips=3))
    ingest_corpus(config, CORPUS, DT)
    freeze_schema(StoreLayout(config.store).dataset(CORPUS, "audio-batches@1"), SoundBatches(BatchParams()).schema)
    (work,) = (replace(work, run="tonight") for work in works_of(config, *plan_corpus(config, CORPUS).shards))
    calls_left[:] = [STOP, *[""] * 2]  # one gets through
    with pytest.raises(MemoryError):
        extract_shard.extract_shard(work, lambda _: None, {})
    calls_left.clear()
    assert sizes(read_log(log)) == [3, 3]
    done = decode(ShardDone, extract_shard.extract_shard(work, lambda _: None, {}))
    assert sizes(read_log(log))[2:] == [3, 2]
    assert (done.computed, done.reused, done.meter.clips) == (8, 0, 8)


def spoil(film: Path) -> None:
    """Overwrite a part of a file that ingest saw whole."""
    data = bytearray(film.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    film.write_bytes(data)


def spools(config: Config) -> list[Path]:
    return sorted(config.store.glob("_staging/spool-*"))


def works_of(config: Config, due: ShardDue) -> list[ShardWork]:
    extractors = {feature_name(extractor): extractor for extractor in resolve_features(config, CORPUS)}
    return plan_works(config, StoreLayout(config.store), CORPUS, [due], extractors)
