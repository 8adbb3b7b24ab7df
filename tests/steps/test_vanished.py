"""Files that are gone are told of, what they gave stays, and what they can no longer give is given up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_maker import (
    CORPUS,
    LATER,
    SOUND,
    TEXT,
    drops,
    extract,
    ingest,
    make_config,
    write_pairs,
    write_tone,
)
from PIL import Image

from mmpipe.config import Config
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.plan.plan import State, plan_corpus, read_states
from mmpipe.steps.share.open import open_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def remove(folder: Path, *names: str) -> None:
    for name in names:
        for suffix in (".wav", ".txt"):
            (folder / "media" / f"{name}{suffix}").unlink()


def superseded(config: Config) -> dict[str, bool]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return dict(spine.select("source_id", "superseded").sort("source_id").iter_rows())


def test_files_that_are_gone_are_told_of_and_the_counts_add_up(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b", "c"])
    config = make_config(tmp_path)
    ingest(config)
    extract(config)
    remove(tmp_path, "b")
    report = ingest(config, LATER)
    (count,) = report.partitions
    assert (count.files, count.assets, count.clips, count.clips_vanished) == (4, 2, 2, 1)
    assert count.row()["clips of gone files"] == 1
    assert list(report.notes()) == [
        "2 files are gone after the intake, such as 'b.txt', 'b.wav': what was made of them stays"
    ]
    assert len(open_corpus(config.store)) == 3 and plan_corpus(config, CORPUS).is_empty
    assert list(ingest(config, LATER).notes()) == list(report.notes())  # as long as it is so


def test_a_renamed_file_and_one_with_new_bytes_are_not_gone(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b"])
    config = make_config(tmp_path)
    ingest(config)
    for suffix in (".wav", ".txt"):
        (tmp_path / "media" / f"a{suffix}").rename(tmp_path / "media" / f"renamed{suffix}")
    write_tone(tmp_path / "media" / "b.wav", hz=2_900)
    (tmp_path / "media" / "b.txt").unlink()
    assert list(ingest(config, LATER).notes()) == []


def test_what_failed_because_its_file_is_gone_names_the_way_out_and_is_given_up(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b", "c"])
    config = make_config(tmp_path)
    ingest(config)
    kept = {path: path.read_bytes() for path in sorted((tmp_path / "media").glob("b.*"))}
    remove(tmp_path, "b")
    ingest(config, LATER)
    extract(config)
    (row,) = read_quarantine(StoreLayout(config.store), CORPUS).filter(file="b.wav").to_dicts()
    assert row["code"] == "unreadable"
    assert row["detail"].startswith(
        "'b.wav' is gone: put it back and run `mmpipe quarantine retry`, or leave it and run"
    )
    assert {state.state for state in read_states(config, CORPUS)} == {State.FAILED}

    assert ingest_reason(config, CORPUS, LATER) == "files were added, removed or changed"
    report = ingest(config, LATER)
    assert "1 recording is superseded: the file was gone before all its clips were made" in "".join(report.notes())
    assert superseded(config) == {"a": False, "b": True, "c": False}
    extract(config)
    assert drops(config) == {} and {state.state for state in read_states(config, CORPUS)} == {State.COMPLETE}
    assert list(ingest(config, LATER).notes()) == [] and ingest_reason(config, CORPUS, LATER) == ""

    for path, data in kept.items():
        path.write_bytes(data)
    ingest(config, LATER)
    assert superseded(config) == {"a": False, "b": False, "c": False}
    extract(config)
    corpus = open_corpus(config.store)
    batch = corpus.gather(np.arange(len(corpus)))
    assert all(batch.features[name].mask_BT.any(axis=1).all() for name in (SOUND, TEXT)) and len(corpus) == 3


def test_a_feature_that_comes_too_late_costs_no_recording_that_has_another(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b", "c"])
    config = make_config(tmp_path, features=["audio-logmel"])
    ingest(config)
    extract(config)
    remove(tmp_path, "b")
    config = make_config(tmp_path, features=["audio-logmel", "audio-mfccseg"])
    ingest(config, LATER)
    extract(config)
    assert [
        row["feature"] for row in read_quarantine(StoreLayout(config.store), CORPUS).filter(file="b.wav").to_dicts()
    ]
    ingest(config, LATER)
    assert superseded(config) == {"a": False, "b": False, "c": False}


@pytest.mark.parametrize("left", [(), ("a",)])
def test_a_root_that_lost_most_of_its_files_gives_nothing_up(tmp_path: Path, left: tuple[str, ...]) -> None:
    names = {"a", "b", "c"}
    write_pairs(tmp_path / "media", sorted(names))
    config = make_config(tmp_path)
    ingest(config)
    remove(tmp_path, *sorted(names.difference(left)))
    extract(config)
    report = ingest(config, LATER)
    assert "is the disk mounted?" in list(report.notes())[-1]
    assert superseded(config) == dict.fromkeys(sorted(names), False)


def write_scene(path: Path, seed: int, side: int = 256) -> None:
    """Write a picture of soft blots that no other seed has."""
    path.parent.mkdir(exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)


def test_a_near_twin_of_what_was_given_up_is_judged_anew_and_of_what_was_made_is_not(tmp_path: Path) -> None:
    root = tmp_path / "media"
    for seed, name in enumerate(("made", "unmade", "other", "another")):
        write_scene(root / f"{name}.png", seed)
        config = make_config(tmp_path, features=["image-hogdct"], dedup={"near": True})
        ingest(config)
        if name == "made":
            extract(config)
    for seed, name in enumerate(("made", "unmade")):
        write_scene(root / f"{name}_small.png", seed, 120)
    ingest(config)
    for name in ("made", "unmade"):
        (root / f"{name}.png").unlink()
    twins = {"made_small.png": "near_duplicate", "unmade_small.png": "near_duplicate"}
    assert drops(config) == twins
    extract(config)
    ingest(config, LATER)
    extract(config)
    assert drops(config) == {"made_small.png": "near_duplicate"}
    (row,) = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert "'made', which is kept, though its file is gone" in row["detail"]
    live = {name for name, is_gone in superseded(config).items() if not is_gone}
    assert live == {"made", "unmade_small", "other", "another"}
    assert plan_corpus(config, CORPUS).is_empty and ingest_reason(config, CORPUS, LATER) == ""
