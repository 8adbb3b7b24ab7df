"""The ledger: what is due, why, and that nothing else is ever computed."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from kill_corpus import CORPUS, DT, differing, make_config, tree_digest, write_film, write_sound, write_words

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ShardError
from mmpipe.features.audio_mfccseg import AudioMfccSeg
from mmpipe.features.extractor import fingerprint
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.night.night import what_is_due
from mmpipe.steps.plan.plan import Only, State, plan_corpus, read_states
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.receipt import Receipt, put_receipt
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.verify import verify_store
from mmpipe.types import Drop

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

SOUND, WORDS, PICTURES = "audio-mfccseg@1", "text-ngrams@1", "video-hogdct@1"
NEXT = "2026-11-21"
NUM_PAIRS = 6
FEATURES = ("audio-mfccseg", "text-ngrams")


@pytest.fixture(scope="module")
def filled(kill_folder: Path, warm_workers: None) -> Path:
    """Return a folder with six sounds and captions, ingested and extracted in two shards."""
    folder = kill_folder / "ledger"
    (folder / "media").mkdir(parents=True)
    for number in range(NUM_PAIRS):
        write_sound(folder / "media" / f"pair-{number}.wav", 300 + 50 * number)
        write_words(folder / "media" / f"pair-{number}.txt", f"caption {number}")
    config = configure(folder)
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    return folder


@pytest.fixture
def own(filled: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder for one test to change."""
    shutil.copytree(filled, tmp_path / "own")  # keeps time stamps; the inodes are new, so the files are probed anew
    return tmp_path / "own"


def configure(folder: Path, features: tuple[str, ...] = FEATURES, params: dict | None = None, **corpus) -> Config:
    config = make_config(folder, features=features, **{"shard_clips": 3, **corpus})
    return config.model_copy(update={"features": params or {}})


def states(config: Config) -> dict[tuple[str, int], State]:
    return {(state.feature, state.shard): state.state for state in read_states(config, CORPUS)}


def extract(config: Config, only: Only = Only.DUE, force: bool = False):
    return extract_plan(config, plan_corpus(config, CORPUS, only=only, force=force))


def value_of(config: Config, feature: str, source: str) -> np.ndarray:
    """Return the value of the live clip of a source."""
    layout = StoreLayout(config.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (feature,)), (feature,))
    (row,) = [row for row, name in enumerate(reader.spine["source_id"]) if name == source]
    return reader.gather(np.array([row])).features[feature].x_BTD[0]


# --------------------------------------------------------------------------- missing, stale, failed


def test_what_was_never_made_is_missing_and_what_was_made_is_complete(filled, tmp_path):
    empty = configure(filled).model_copy(update={"store": tmp_path / "store"})
    ingest_corpus(empty, CORPUS, DT)
    plan = plan_corpus(empty, CORPUS)
    assert [(due.shard, due.features, set(due.reasons)) for due in plan.shards] == [
        (0, (SOUND, WORDS), {"never extracted"}),
        (1, (SOUND, WORDS), {"never extracted"}),
    ]
    assert set(states(configure(filled)).values()) == {State.COMPLETE}
    assert plan_corpus(configure(filled), CORPUS).is_empty


def test_other_parameters_make_that_feature_stale_and_no_other(own):
    config = configure(own, params={"audio-mfccseg": {"num_mels": 30}})
    plan = plan_corpus(config, CORPUS)
    assert {due.features for due in plan.shards} == {(SOUND,)}
    assert {reason for due in plan.shards for reason in due.reasons} == {"params: num_mels 64 -> 30"}
    shutil.rmtree(StoreLayout(config.store).dataset(CORPUS, SOUND).root / "_meta" / "fingerprints")
    assert {reason for due in plan_corpus(config, CORPUS).shards for reason in due.reasons} == {
        "the extractor's parameters, version or weights changed"  # as a store of an older mmpipe has it
    }
    report, _ = extract(config)
    assert (report.computed, report.reused) == (NUM_PAIRS, 0)
    assert plan_corpus(config, CORPUS).is_empty
    assert verify_store(StoreLayout(config.store)) == ()


def test_a_corrected_label_makes_nothing_stale(own):
    labels = own / "labels.jsonl"
    labels.write_text('{"id": "pair-0", "word": "one"}\n')
    config = configure(own, labels={"file": str(labels)})
    ingest_corpus(config, CORPUS, DT)
    labels.write_text('{"id": "pair-0", "word": "two"}\n')
    assert ingest_reason(config, CORPUS, DT) == "the corpus's settings or labels changed"
    ingest_corpus(config, CORPUS, DT)
    assert plan_corpus(config, CORPUS).is_empty


def test_a_new_sound_track_leaves_the_pictures_alone(kill_folder):
    folder = kill_folder / "silent"
    (folder / "media").mkdir(parents=True)
    for number in range(2):
        write_film(folder / "media" / f"film-{number}.mp4", number, sound=False)
    config = configure(folder, features=("audio-mfccseg", "video-hogdct"))
    ingest_corpus(config, CORPUS, DT)
    extract(config)
    before = value_of(config, PICTURES, "film-0")
    head = read_head(StoreLayout(config.store).dataset(CORPUS, PICTURES), DT)

    write_sound(folder / "media" / "film-0.wav", 500)
    ingest_corpus(config, CORPUS, NEXT)
    plan = plan_corpus(config, CORPUS)
    assert [(due.partition, due.shard) for due in plan.shards] == [(DT, 1)]  # the recording stays where it was
    reasons = dict(zip(plan.shards[0].features, plan.shards[0].reasons, strict=True))
    assert reasons[PICTURES] == "same video under a new key: copied, nothing to compute"
    assert states(config)[PICTURES, 0] is State.COMPLETE
    report, _ = extract(config)
    assert (report.computed, report.reused) == (1, 1)  # the sound; the pictures are known
    after = read_head(StoreLayout(config.store).dataset(CORPUS, PICTURES), DT)
    assert after.shard(0) == head.shard(0)
    assert np.array_equal(value_of(config, PICTURES, "film-0"), before)
    assert plan_corpus(config, CORPUS).is_empty


def test_new_bytes_at_an_old_name_are_named_and_the_other_modality_is_copied(own):
    write_sound(own / "media" / "pair-0.wav", 1_500)
    config = configure(own)
    before = read_head(StoreLayout(config.store).dataset(CORPUS, SOUND), DT)
    ingest_corpus(config, CORPUS, NEXT)
    (due,) = plan_corpus(config, CORPUS).shards
    assert (due.partition, due.shard) == (DT, 2)  # late data for an old date is a shard of its own
    assert dict(zip(due.features, due.reasons, strict=True)) == {
        SOUND: "the audio of 'pair-0' has new bytes",
        WORDS: "same text under a new key: copied, nothing to compute",
    }
    report, _ = extract(config)
    assert (report.computed, report.reused) == (1, 1)
    assert read_head(StoreLayout(config.store).dataset(CORPUS, SOUND), DT).shards[:2] == before.shards


# --------------------------------------------------------------------------- quarantined, and tried again


@pytest.fixture
def failed(own: Path) -> tuple[Config, bytes]:
    """Return a store in which one clip's sound fell out, and the bytes that were missing then."""
    config = configure(own)
    shutil.rmtree(config.store)
    ingest_corpus(config, CORPUS, DT)
    victim = own / "media" / "pair-1.wav"
    good = victim.read_bytes()
    victim.write_bytes(good[:-2])
    extract(config)
    victim.write_bytes(good)
    return config, good


def test_a_quarantined_clip_makes_its_shard_failed_and_a_night_leaves_it_alone(failed):
    config, _ = failed
    assert states(config) == {
        (SOUND, 0): State.FAILED,
        (SOUND, 1): State.COMPLETE,
        (WORDS, 0): State.COMPLETE,
        (WORDS, 1): State.COMPLETE,
    }
    (state,) = [state for state in read_states(config, CORPUS) if state.state is State.FAILED]
    assert state.reason == "1 of 3 clips are in quarantine"
    (row,) = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert (row["code"], row["feature"], row["source_id"]) == ("changed_since_ingest", SOUND, "pair-1")
    assert plan_corpus(config, CORPUS).is_empty
    assert plan_corpus(config, CORPUS, only=Only.MISSING).is_empty


def test_failed_alone_are_tried_again_and_good_values_are_kept(failed):
    config, _ = failed
    report, _ = extract(config, Only.FAILED)
    assert (report.shards, report.computed, report.reused) == (1, 1, 2)
    assert set(states(config).values()) == {State.COMPLETE}
    assert read_quarantine(StoreLayout(config.store), CORPUS).is_empty()
    assert verify_store(StoreLayout(config.store)) == ()


def test_what_fails_again_stays_with_its_reason_and_changes_nothing(failed, own):
    config, good = failed
    (own / "media" / "pair-1.wav").write_bytes(good[:-2])
    before = tree_digest(config.store)
    report, _ = extract(config, Only.FAILED)
    assert (report.computed, report.reused, dict(report.quarantined)) == (0, 2, {"changed_since_ingest": 1})
    assert differing(tree_digest(config.store), before) == []


def test_failed_are_tried_again_though_a_kill_left_the_receipt_of_their_commit(failed):
    """Killed between manifest and receipt: the note of the failed shard must not stand for the new try."""
    config, _ = failed
    layout = StoreLayout(config.store)
    dataset = layout.dataset(CORPUS, SOUND)
    entry = read_head(dataset, DT).shard(0)
    (row,) = read_quarantine(layout, CORPUS).drop("partition", "attempts", "replay").to_dicts()
    mark = fingerprint(AudioMfccSeg(AudioMfccSeg.Params()))
    put_receipt(dataset, DT, mark, Receipt(entry=entry, drops=(Drop(**row),)))
    report, _ = extract(config, Only.FAILED)
    assert (report.computed, report.reused) == (1, 2)
    assert set(states(config).values()) == {State.COMPLETE}


def test_a_commit_that_was_cut_short_is_due_and_computes_nothing(own):
    config = configure(own)
    dataset = StoreLayout(config.store).dataset(CORPUS, SOUND)
    mark = fingerprint(AudioMfccSeg(AudioMfccSeg.Params()))
    put_receipt(dataset, DT, mark, Receipt(entry=read_head(dataset, DT).shard(1)))
    (dataset.root / "README.md").unlink()
    shutil.rmtree(dataset.data(DT))
    (due,) = plan_corpus(config, CORPUS).shards
    assert (due.shard, due.features) == (1, (SOUND,))
    assert due.reasons == ("its commit was cut short: nothing is left to compute",)
    report, _ = extract(config)
    assert (report.computed, report.reused) == (0, 0)
    assert verify_store(StoreLayout(config.store)) == ()
    assert plan_corpus(config, CORPUS).is_empty


def test_force_computes_everything_again_and_commits_nothing_new(own):
    config = configure(own)
    before = tree_digest(config.store)
    assert plan_corpus(config, CORPUS, only=Only.ALL).is_empty, "all means whatever is not complete"
    report, _ = extract(config, Only.ALL, force=True)
    assert (report.computed, report.reused) == (2 * NUM_PAIRS, 0)
    assert differing(tree_digest(config.store), before) == []


def test_a_feature_added_later_can_do_without_recordings_that_are_gone(own):
    """A replaced and a removed file: their old clips stay in the spine, their bytes do not.

    What was replaced is superseded, and so nobody's work; what was removed is live until its absence costs a clip.
    """
    write_sound(own / "media" / "pair-0.wav", 1_500)
    for suffix in (".wav", ".txt"):
        (own / "media" / f"pair-1{suffix}").unlink()
    config = configure(own)
    ingest_corpus(config, CORPUS, NEXT)
    extract(config)
    config = configure(own, features=(*FEATURES, "audio-logmel"))
    report, _ = extract(config)
    assert report.computed == NUM_PAIRS - 1
    assert dict(report.quarantined) == {"unreadable": 1}
    assert verify_store(StoreLayout(config.store)) == ()


# --------------------------------------------------------------------------- nothing to do


def listing(store: Path) -> dict[str, str]:
    """Return every name of a store with its size, time stamp and inode; leases come and go, and runs are counted."""
    found = {}
    for path in sorted(store.rglob("*")):
        name = str(path.relative_to(store))
        if not name.startswith(("_leases", "_staging", "_runs/watch")):
            status = path.stat()
            found[name] = f"{status.st_size} bytes, {status.st_mtime_ns}, inode {status.st_ino}"
    return found


def test_a_run_after_a_success_computes_nothing_starts_no_process_and_writes_no_byte(own):
    config = configure(own)
    ingest_corpus(config, CORPUS, DT)  # the copy's files have other inodes: one look, then none
    before, children = listing(config.store), resource.getrusage(resource.RUSAGE_CHILDREN)
    assert what_is_due(config, CORPUS, DT) == ()
    report = ingest_corpus(config, CORPUS, DT)
    done, _ = extract(config)
    assert (report.probed, done.shards, done.computed, done.reused) == (0, 0, 0, 0)
    assert differing(listing(config.store), before) == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_minflt, after.ru_utime) == (children.ru_minflt, children.ru_utime)


def test_a_touched_file_is_looked_at_again_and_changes_nothing_but_the_record(own):
    config = configure(own)
    ingest_corpus(config, CORPUS, DT)
    before = tree_digest(config.store)
    os.utime(own / "media" / "pair-2.wav", (1_700_000_100, 1_700_000_100))
    assert ingest_reason(config, CORPUS, DT) == "files were added, removed or changed"
    assert ingest_corpus(config, CORPUS, DT).probed == 1
    assert differing(tree_digest(config.store), before) == []
    assert ingest_reason(config, CORPUS, DT) == ""


# --------------------------------------------------------------------------- one bad shard


def test_a_shard_that_cannot_be_made_holds_back_its_own_date_alone(own):
    """A damaged object that a new shard wants to copy from: the other date is committed, the error names the shard."""
    config = configure(own)
    dataset = StoreLayout(config.store).dataset(CORPUS, SOUND)
    damaged = dataset.object(read_head(dataset, DT).shard(0).files[0].sha256)
    damaged.chmod(0o644)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200] + bytes(64) + whole[264:])
    write_words(own / "media" / "pair-0.txt", "another caption, so another recording")
    write_sound(own / "media" / "new.wav", 1_111)
    ingest_corpus(config, CORPUS, NEXT)
    with pytest.raises(ShardError, match=rf"1 shards could not be made(.|\n)*dt={DT} shard 2") as failure:
        extract(config)
    assert failure.value.report.failed == 1, "beside what came of the others"
    assert read_head(dataset, NEXT).shard(0).samples == 1
    assert {due.partition for due in plan_corpus(config, CORPUS).shards} == {DT}
    damaged.write_bytes(whole)
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty
    assert verify_store(StoreLayout(config.store)) == ()


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_lost_bytes_are_due_and_come_back_as_they_were(own, damage):
    config = configure(own)
    layout = StoreLayout(config.store)
    before = tree_digest(own / "store")
    head = read_head(layout.dataset(CORPUS, SOUND), DT)
    lost = layout.dataset(CORPUS, SOUND).object(head.shards[1].files[0].sha256)
    if damage == "cut":
        lost.chmod(0o644)
        lost.write_bytes(lost.read_bytes()[:-1])  # through the view's link too, as a failing disk would
    else:
        lost.unlink()
    plan = plan_corpus(config, CORPUS)
    assert [(due.shard, due.features, due.reasons) for due in plan.shards] == [
        (1, (SOUND,), ("its files are gone or cut short",))
    ]
    if damage == "cut":
        lost.unlink()  # as `verify` says
    report, _ = extract_plan(config, plan)
    assert report.computed == 3
    assert tree_digest(own / "store") == before
    assert not verify_store(layout)
    assert plan_corpus(config, CORPUS).is_empty
