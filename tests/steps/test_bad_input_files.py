"""Files as people leave them: every one ends in exactly one place, with a reason, and stops no other."""

from __future__ import annotations

import os
import shlex
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
    require_accounts,
    tree,
    write_film,
    write_pairs,
    write_picture,
    write_text,
    write_tone,
)

from mmpipe.config import Config
from mmpipe.errors import ConfigError, PartialError
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.night.night import run_night, what_is_due
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")

ODD_NAMES = ("a b", "dots.in.name", "quote'\"s", "-dash", "sub/deep", "new\nline", "per%20cent", "é\u202egpj")


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> tuple[Config, IngestReport]:
    """Return the config of a corpus with one of each trouble, ingested and extracted."""
    folder = tmp_path_factory.mktemp("messy")
    root = folder / "media"
    write_pairs(root, ODD_NAMES)
    write_tone(os.fsencode(root) + b"/\xff\xfe.wav", 900)
    write_text(os.fsencode(root) + b"/\xff\xfe.txt", "a name that is no text")
    (root / "zero.wav").touch()
    write_text(root / "words.mp4", "this is no film\n")
    os.mkfifo(root / "pipe.mp4")
    os.symlink("nowhere", root / "dangling.wav")
    os.symlink(root / "a b.wav", root / "link.wav")
    (root / "folder.mp4").mkdir()
    write_tone(root / "folder.mp4" / "inner.wav", 1_200)
    write_text(root / "notes.doc", "no media suffix")
    write_text(root / ".hidden.wav", "left out by rule")
    for suffix in (".wav", ".txt"):
        shutil.copy2(root / f"a b{suffix}", root / f"twin{suffix}")
    shutil.copy2(root / "a b.wav", root / "other caption.wav")
    write_text(root / "other caption.txt", "the same sound, described anew")
    write_film(root / "silent.mp4", sound=False)
    write_film(root / "blind.mp4", picture=False)
    write_film(root / "whole.mp4", hz=700)
    write_text(root / "cut.mp4", (root / "whole.mp4").read_bytes()[:300])
    write_text(root / "cut.txt", "the caption of a film that cannot be read")
    write_picture(root / "still.png")
    write_text(root / "lonely.txt", "a text alone")
    features = ["audio-mfccseg", "image-hogdct", "text-ngrams", "video-hogdct"]
    config = make_config(folder, features=features, max_quarantined=1)
    report = ingest(config)
    extract(config)
    return config, report


def test_every_unusable_file_has_its_reason(messy: tuple[Config, IngestReport]) -> None:
    assert drops(messy[0]) == {
        "zero.wav": "empty_file",
        "words.mp4": "not_media",
        "pipe.mp4": "not_regular",
        "dangling.wav": "not_regular",
        "link.wav": "not_regular",
        "folder.mp4": "not_regular",
        "notes.doc": "unknown_type",
        "twin.wav": "duplicate",
        "twin.txt": "duplicate",
        "cut.mp4": "not_media",
        "cut.txt": "sibling_unusable",
    }


def test_every_file_is_counted_once(messy: tuple[Config, IngestReport]) -> None:
    config, report = messy
    (count,) = report.partitions
    names = [path for path in config.corpora[CORPUS].root.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert count.files == len(names) + 1  # the folder that is named like a film
    assert (count.quarantined, count.duplicates, count.filtered) == (9, 2, 1)
    assert count.used == count.files - 12


def test_odd_names_are_used_like_any_other(messy: tuple[Config, IngestReport]) -> None:
    spine = read_spine(StoreLayout(messy[0].store), CORPUS)
    named = set(spine["source_id"])
    assert {"a b", "dots.in.name", "quote'\"s", "-dash", "sub/deep", "folder.mp4/inner"} <= named
    assert {"new%0Aline", "per%2520cent", "%FF%FE"} <= named
    assert all(name.isprintable() for name in named)


def test_every_clip_has_what_its_files_give(messy: tuple[Config, IngestReport]) -> None:
    config, _ = messy
    found = {
        name: find_clips(config, CORPUS, name)[0] for name in ("silent", "blind", "whole", "still", "lonely", "a b")
    }
    has = {name: {key for key, value in clip.items() if "@" in key and value != "none"} for name, clip in found.items()}
    assert has == {
        "silent": {"video-hogdct@1"},
        "blind": {SOUND},
        "whole": {"video-hogdct@1", SOUND},
        "still": {"image-hogdct@1"},
        "lonely": {TEXT},
        "a b": {SOUND, TEXT},
    }


def test_one_sound_under_two_captions_is_two_clips_of_one_group(messy: tuple[Config, IngestReport]) -> None:
    spine = read_spine(StoreLayout(messy[0].store), CORPUS)
    pair = spine.filter(pl.col("source_id").is_in(["a b", "other caption"]))
    assert pair["key"].n_unique() == 2 and pair["text_stream"].n_unique() == 2
    assert pair["group"].n_unique() == 1 and pair["split"].n_unique() == 1
    reader = open_corpus(messy[0].store / CORPUS, [SOUND, TEXT])
    rows = [row for row, name in enumerate(reader.spine["source_id"]) if name in ("a b", "other caption")]
    batch = reader.gather(rows)
    sound, text = batch.features[SOUND].x_BTD, batch.features[TEXT].x_BTD
    assert (sound[0] == sound[1]).all() and not (text[0] == text[1]).all()


def test_the_store_is_whole_after_all_that(messy: tuple[Config, IngestReport]) -> None:
    assert not verify_store(StoreLayout(messy[0].store))


def test_every_replay_command_names_a_file_that_can_be_asked_about(messy: tuple[Config, IngestReport]) -> None:
    config, _ = messy
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert len(rows) == 11
    for row in rows:
        words = shlex.split(row["replay"])
        assert words[:2] == ["mmpipe", "probe"] and words[-2:] == ["--", row["file"]]
    told = probe_again(config, CORPUS, [row["file"] for row in rows])
    assert {(row["file"], row["what"], row["detail"]) for row in told} == {
        (row["file"], row["code"], row["detail"]) for row in rows
    }
    found = {row["file"]: row["what"] for row in told}
    assert found["zero.wav"] == "empty_file" and found["cut.mp4"] == "not_media"
    assert found["pipe.mp4"] == "not_regular" and found["notes.doc"] == "unknown_type"
    assert found["twin.wav"] == "duplicate"


def test_a_second_look_finds_nothing_to_do(messy: tuple[Config, IngestReport]) -> None:
    config, _ = messy
    assert ingest_reason(config, CORPUS, DT) == "" and ingest_reason(config, CORPUS, LATER) == ""
    before = tree(config.store)
    again = ingest_corpus(config, CORPUS, LATER)
    require_accounts(again)
    assert plan_corpus(config, CORPUS).is_empty
    after = tree(config.store)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {"_runs/scan-sounds.parquet"}


def test_a_sound_that_is_computed_serves_its_twin(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    shutil.copy2(tmp_path / "media" / "one.wav", tmp_path / "media" / "two.wav")
    write_text(tmp_path / "media" / "two.txt", "another caption")
    config = make_config(tmp_path)
    ingest(config)
    report, _ = extract(config)
    assert (report.computed, report.reused) == (3, 1)  # one sound and two texts; the sound again
    shutil.copy2(tmp_path / "media" / "one.wav", tmp_path / "media" / "three.wav")
    write_text(tmp_path / "media" / "three.txt", "a third caption")
    ingest(config, LATER)
    report, _ = extract(config)
    assert (report.computed, report.reused) == (1, 1)


def test_an_empty_folder_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    config = make_config(tmp_path)
    assert ingest(config).partitions == ()
    assert partitions(config) == () and plan_corpus(config, CORPUS).is_empty
    run_night(config, CORPUS, DT)
    assert what_is_due(config, CORPUS, LATER) == ()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"media is not a folder. Correct `root`"):
        ingest(make_config(tmp_path))


def test_all_files_bad_ends_partial_with_everything_in_quarantine(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for name in ("a.mp4", "b.wav", "c.png"):
        write_text(tmp_path / "media" / name, "no media\n")
    config = make_config(tmp_path)
    with pytest.raises(PartialError, match=r"100% of the files of 'sounds' are in quarantine, allowed are 20%"):
        ingest_corpus(config, CORPUS, DT)
    assert drops(config) == {"a.mp4": "not_media", "b.wav": "not_media", "c.png": "not_media"}
    assert partitions(config) == () and not verify_store(StoreLayout(config.store))


def test_too_many_bad_files_do_not_keep_the_good_ones_from_their_features(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["good"])
    for name in ("a.mp4", "b.wav"):
        write_text(tmp_path / "media" / name, "no media\n")
    config = make_config(tmp_path)
    with pytest.raises(PartialError, match="50% of the files"):
        run_night(config, CORPUS, DT)
    assert plan_corpus(config, CORPUS).is_empty
    assert open_corpus(config.store).gather([0]).features[SOUND].mask_BT.all()


def test_a_file_that_is_repaired_leaves_the_quarantine(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["good"])
    write_text(tmp_path / "media" / "bad.wav", "no media yet")
    config = make_config(tmp_path, max_quarantined=1)
    ingest(config)
    assert reasons(config) == {"not_media": 1}
    write_tone(tmp_path / "media" / "bad.wav", 1_700)
    report = ingest(config, LATER)
    assert reasons(config) == {} and [count.partition for count in report.partitions] == [DT]


def test_a_file_that_changes_after_the_ingest_is_quarantined_by_the_extraction(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "changed"])
    config = make_config(tmp_path)
    ingest(config)
    write_tone(tmp_path / "media" / "changed.wav", 2_500)
    extract(config)
    assert drops(config, "extract") == {"changed.wav": "changed_since_ingest"}
    assert [row["replay"] for row in read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()] == [
        f"mmpipe extract --corpus {CORPUS} --dt {DT} --only failed"
    ]


def test_a_file_that_vanishes_after_the_ingest_is_quarantined_by_the_extraction(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "gone"])
    config = make_config(tmp_path)
    ingest(config)
    (tmp_path / "media" / "gone.wav").unlink()
    _, committed = extract(config)
    assert {count.feature: count.quarantined for count in committed.features} == {SOUND: 1, TEXT: 0}
    assert drops(config, "extract") == {"gone.wav": "unreadable"}
