"""A release that is taken back: what it let in leaves again, what was frozen before stays, and it can come again."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
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
    tree,
    values,
    write_damaged,
    write_pairs,
    write_text,
    write_tone,
)
from PIL import Image

from mmpipe import faults
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.ingest.near_told import NEAR
from mmpipe.steps.plan.plan import Only, plan_corpus
from mmpipe.steps.quarantine.releasable import is_releasable, way_out
from mmpipe.steps.quarantine.release_quarantine import release_quarantined, take_back_release
from mmpipe.steps.quarantine.released import list_released, list_still_used
from mmpipe.steps.quarantine.retry import forget_looks
from mmpipe.store.admitted import take_back
from mmpipe.store.audit import read_events
from mmpipe.store.layout import ADMITTED, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.revisions import read_head
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")


@dataclass(frozen=True)
class Case:
    """A corpus with one thing that a policy refuses."""

    code: str
    file: str
    write: Callable[[Path], None]
    settings: dict[str, Any]


def write_scene(path: Path, side: int) -> None:
    """Write a picture of soft blots at some size."""
    small = np.random.default_rng(3).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)


def write_twins(media: Path) -> None:
    write_pairs(media, ["good"])
    write_scene(media / "large.png", 300)
    write_scene(media / "odd.png", 100)


def write_long(media: Path) -> None:
    write_pairs(media, ["good"])
    write_tone(media / "odd.wav", 600, seconds=1.0)


def write_cut(media: Path) -> None:
    write_pairs(media, ["good"])
    write_tone(media / "odd.wav", 600, seconds=1.0)
    data = (media / "odd.wav").read_bytes()
    write_text(media / "odd.wav", data[: len(data) * 6 // 10])


LOOSE = {"max_quarantined": 1}
CASES = {
    "near": Case(
        NEAR, "odd.png", write_twins, {"dedup": {"near": True}, "features": ["image-hogdct", "audio-mfccseg"]}
    ),
    "limit": Case("limit_duration", "odd.wav", write_long, {"limits": {"duration_s": 0.8}}),
    "file": Case("limit_file", "odd.wav", write_long, {"limits": {"file_bytes": 10_000}}),
    "damaged": Case("decode_error", "odd.wav", write_cut, {}),
    "decoded": Case("decode_error", "odd.wav", write_cut, {"validate_by": "decode", "signals": {"enabled": True}}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def build(folder: Path, case: Case) -> Config:
    """Return the config of an ingested and extracted corpus."""
    case.write(folder / "media")
    config = make_config(folder, **LOOSE, **case.settings)
    ingest(config)
    extract(config)
    assert drops(config)[case.file] == case.code and "odd" not in live(config)
    return config


def live(config: Config) -> set[str]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return set(spine.filter(~pl.col("superseded"))["source_id"])


def content(config: Config) -> dict[str, object]:
    """Return what the head of every dataset holds."""
    layout = StoreLayout(config.store)
    found: dict[str, object] = {}
    for name in layout.dataset_names(CORPUS):
        for dt in layout.dataset(CORPUS, name).partitions():
            head = read_head(layout.dataset(CORPUS, name), dt)
            assert head is not None
            shards = {shard.number: tuple(file.sha256 for file in shard.files) for shard in head.shards}
            found[f"{name} {dt}"] = (shards, dict(head.totals))
    return found


def test_what_is_taken_back_leaves_and_can_come_again(tmp_path: Path, case: Case) -> None:
    config = build(tmp_path, case)
    layout = StoreLayout(config.store)
    refused = {key: found for key, found in content(config).items() if key.startswith("quarantine")}
    made = release_quarantined(config, CORPUS, case.code, "we need it")
    extract(config)
    assert "odd" in live(config) and case.code not in drops(config).values()
    released = content(config)
    frozen = take_snapshot(layout, CORPUS, tuple(sorted(name for name in layout.dataset_names(CORPUS) if "@" in name)))
    before = values(config, frozen) if {SOUND, TEXT} <= set(layout.dataset_names(CORPUS)) else {}
    assert take_back_release(config, CORPUS, case.code, "no longer") == made
    assert live(config) == {"good", "large"} & live(config) and drops(config)[case.file] == case.code
    assert {key: found for key, found in content(config).items() if key.startswith("quarantine")} == refused
    assert plan_corpus(config, CORPUS).is_empty and not ingest_reason(config, CORPUS, DT)
    assert verify_store(layout) == () and list_still_used(layout, CORPUS, made) == ()
    assert list_released(layout, CORPUS) == ()
    if before:
        assert values(config, frozen) == before
        assert {key for key, _ in values(config)} < {key for key, _ in before}
    undone = tree(config.store / CORPUS)
    ingest(config, LATER)
    assert take_back_release(config, CORPUS, case.code, "no longer") == made
    assert tree(config.store / CORPUS) == undone
    assert [event.kind for event in read_events(layout)] == ["quarantine-release", "quarantine-take-back"]
    assert release_quarantined(config, CORPUS, case.file, "after all") == made
    extract(config)
    assert content(config) == released and verify_store(layout) == ()


@pytest.mark.parametrize("name", ["near", "decoded"])
def test_a_mark_is_enough_for_the_next_ingest(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    config = build(tmp_path, case)
    layout = StoreLayout(config.store)
    (made,) = release_quarantined(config, CORPUS, case.file, "we need it")
    assert not ingest_reason(config, CORPUS, DT)
    rows = pl.DataFrame([{"partition": DT, "file": case.file, "file_sha256": made.thing}])
    forget_looks(layout, CORPUS, rows)  # so far comes an undo that is killed before it ingests
    take_back(layout.dataset(CORPUS, ADMITTED), DT, [(made.code, made.thing)])
    assert "taken back" in ingest_reason(config, CORPUS, DT)
    ingest(config)
    assert "odd" not in live(config) and drops(config)[case.file] == case.code
    assert not ingest_reason(config, CORPUS, DT) and verify_store(layout) == ()


@pytest.mark.parametrize(("name", "moment"), [("near", "link"), ("limit", "linked")])
def test_it_can_be_cut_short_at_every_commit_and_done_again(
    tmp_path: Path, name: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    whole = build(tmp_path, case)
    release_quarantined(whole, CORPUS, case.file, "we need it")
    kept = tmp_path / "released"
    shutil.copytree(whole.store, kept)
    take_back_release(whole, CORPUS, case.file, "no longer")
    for number in count(1):
        config = whole.model_copy(update={"store": tmp_path / f"cut{number}"})
        shutil.copytree(kept, config.store)
        with monkeypatch.context() as broken:
            broken.setattr(faults, "_counts", Counter())
            broken.setenv("MMPIPE_FAULT", f"{moment}@_meta:{number}:EIO")
            try:
                take_back_release(config, CORPUS, case.file, "no longer")
                break
            except OSError:
                pass
        take_back_release(config, CORPUS, case.file, "no longer")
        assert content(config) == content(whole), number
        assert verify_store(StoreLayout(config.store)) == ()
    assert number > 3  # the exception, the quarantine and the spine, each cut short


def test_a_file_that_is_gone_stays_and_is_named(tmp_path: Path) -> None:
    case = CASES["limit"]
    config = build(tmp_path, case)
    (made,) = release_quarantined(config, CORPUS, case.file, "we need it")
    (tmp_path / "media" / case.file).unlink()
    take_back_release(config, CORPUS, case.file, "no longer")
    assert "odd" in live(config) and list_still_used(StoreLayout(config.store), CORPUS, (made,)) == (case.file,)
    case.write(tmp_path / "media")
    ingest(config, LATER)
    assert "odd" not in live(config) and drops(config)[case.file] == case.code


def test_a_renamed_file_leaves_too(tmp_path: Path) -> None:
    case = CASES["limit"]
    config = build(tmp_path, case)
    release_quarantined(config, CORPUS, case.code, "we need it")
    os.rename(tmp_path / "media" / "odd.wav", tmp_path / "media" / "renamed.wav")
    ingest(config)
    take_back_release(config, CORPUS, case.code, "no longer")
    assert live(config) == {"good"} and drops(config)["renamed.wav"] == case.code


def test_what_a_wider_limit_allows_stays_in(tmp_path: Path) -> None:
    case = CASES["limit"]
    config = build(tmp_path, case)
    (made,) = release_quarantined(config, CORPUS, case.code, "we need it")
    wide = make_config(tmp_path, **LOOSE, limits={"duration_s": 5})
    take_back_release(wide, CORPUS, case.code, "no need for it")
    assert "odd" in live(wide) and list_still_used(StoreLayout(wide.store), CORPUS, (made,)) == (case.file,)


def test_the_twin_that_was_kept_is_not_judged_anew(tmp_path: Path) -> None:
    """It is the smaller one, and has the same caption: only that it came first keeps it."""
    media = tmp_path / "media"
    media.mkdir()
    config = make_config(tmp_path, **LOOSE, dedup={"near": True}, features=["image-hogdct"])
    for name, side, dt in (("first", 100, DT), ("larger", 300, LATER)):
        write_scene(media / f"{name}.png", side)
        write_text(media / f"{name}.txt", "the same words")
        ingest(config, dt)
    assert live(config) == {"first"} and drops(config) == {"larger.png": NEAR, "larger.txt": NEAR}
    release_quarantined(config, CORPUS, NEAR, "both")
    assert live(config) == {"first", "larger"} and drops(config) == {}
    take_back_release(config, CORPUS, NEAR, "one is enough")
    assert live(config) == {"first"} and drops(config) == {"larger.png": NEAR, "larger.txt": NEAR}


def test_damage_that_the_extraction_found_is_let_in_and_refused_again(tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_damaged(media / "whole.mkv", range(0))
    write_damaged(media / "torn.mkv", range(50, 60))
    config = make_config(tmp_path, **LOOSE, features=["video-hogdct"])
    ingest(config)
    extract(config)
    assert drops(config) == {"torn.mkv": "decode_error"}
    (media / "whole.mkv").unlink()  # nobody can make its value again
    ingest(config)
    before = content(config)
    release_quarantined(config, CORPUS, "torn.mkv", "most of it will do")
    rows = read_quarantine(StoreLayout(config.store), CORPUS)
    assert rows.select("file", "code", "kept").rows() == [("torn.mkv", "damaged", True)]
    assert plan_corpus(config, CORPUS).is_empty
    with pytest.raises(ConfigError, match=r"in use all the same.*'decode_error'"):
        release_quarantined(config, CORPUS, "damaged", "nothing is held back")
    released = content(config)
    take_back_release(config, CORPUS, "torn.mkv", "it will not")
    after = content(config)
    assert {key: found for key, found in after.items() if ADMITTED not in key} == before
    take_back_release(config, CORPUS, "torn.mkv", "it will not")
    assert content(config) == after and verify_store(StoreLayout(config.store)) == ()
    release_quarantined(config, CORPUS, "torn.mkv", "it must")
    assert content(config) == released


def test_when_it_was_extracted_makes_no_difference(tmp_path: Path) -> None:
    found = []
    write_damaged(tmp_path / "media" / "whole.mkv", range(0))
    write_damaged(tmp_path / "media" / "torn.mkv", range(50, 60))
    for name in ("before", "after"):
        shutil.copytree(tmp_path / "media", tmp_path / name / "media")
        config = make_config(tmp_path / name, **LOOSE, features=["video-hogdct"], validate_by="decode")
        ingest(config)
        release_quarantined(config, CORPUS, "torn.mkv", "most of it will do")
        if name == "before":
            extract(config)
        take_back_release(config, CORPUS, "torn.mkv", "by mistake")
        extract(config)
        assert drops(config, "decode") == {"torn.mkv": "decode_error"} and live(config) == {"whole"}
        assert plan_corpus(config, CORPUS, only=Only.FAILED).is_empty and plan_corpus(config, CORPUS).is_empty
        found.append(content(config))
    assert found[0] == found[1]


def test_a_file_that_is_gone_keeps_what_was_made_of_it(tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_damaged(media / "torn.mkv", range(50, 60))
    config = make_config(tmp_path, **LOOSE, features=["video-hogdct"])
    ingest(config)
    extract(config)
    release_quarantined(config, CORPUS, "torn.mkv", "most of it will do")
    released = content(config)
    (media / "torn.mkv").unlink()
    (made,) = take_back_release(config, CORPUS, "torn.mkv", "it will not")
    kept = {key: found for key, found in content(config).items() if "@" in key or "clips" in key}
    assert kept.items() <= released.items()
    assert list_still_used(StoreLayout(config.store), CORPUS, (made,)) == ("torn.mkv",)


def test_what_does_not_decode_at_all_is_not_released(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["good"])
    write_tone(tmp_path / "media" / "odd.wav", 600, seconds=1.0)
    data = (tmp_path / "media" / "odd.wav").read_bytes()
    write_text(tmp_path / "media" / "odd.wav", data[:44])
    config = make_config(tmp_path, **LOOSE)
    ingest(config)
    code = drops(config)["odd.wav"]
    before = content(config)
    assert code == "decode_error"
    with pytest.raises(ConfigError, match=r"'odd.wav': nothing of it can be decoded.*Put a whole file there"):
        release_quarantined(config, CORPUS, "odd.wav", "please")
    after = {key: found for key, found in content(config).items() if not key.startswith(ADMITTED)}
    assert after == before and drops(config)["odd.wav"] == code
    assert list_released(StoreLayout(config.store), CORPUS) == ()


def test_a_large_file_lets_in_no_other(tmp_path: Path) -> None:
    case = CASES["file"]
    case.write(tmp_path / "media")
    write_tone(tmp_path / "media" / "other.wav", 900, seconds=1.0)
    write_tone(tmp_path / "media" / "gone.wav", 950, seconds=1.0)
    config = make_config(tmp_path, **LOOSE, **case.settings)
    ingest(config)
    (tmp_path / "media" / "gone.wav").unlink()
    with pytest.raises(ConfigError, match=r"'gone.wav' cannot be released.*Raise `limits.file_bytes`"):
        release_quarantined(config, CORPUS, "gone.wav", "too late")
    release_quarantined(config, CORPUS, "odd.wav", "only this one")
    assert live(config) == {"good", "odd"} and drops(config) == {"other.wav": "limit_file"}
    write_tone(tmp_path / "media" / "odd.wav", 650, seconds=1.0)
    ingest(config)
    assert drops(config) == {"odd.wav": "limit_file", "other.wav": "limit_file"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("label_conflict", r"'one' is in use, without labels.*\(rows 1, 2 disagree"),
        ("not_a_number", "correct it in the labels table"),
        ("duplicate", "nothing is lost: rows 1, 2"),
        ("sibling_unusable", "let that in, or mend it"),
        ("timeout", "Raise `limits.seconds_per_asset`"),
        ("memory", "`limits.memory_bytes`"),
        ("limit_archive", "`limits.archive_bytes`"),
        ("format_not_allowed", "convert it"),
        ("not_media", "no policy that could be bent.*mmpipe quarantine retry --corpus c"),
    ],
)
def test_every_other_code_names_its_way_out(code: str, words: str) -> None:
    row = {"code": code, "file": "", "source_id": "one", "clip_key": "", "detail": "rows 1, 2 disagree in: word"}
    assert not is_releasable(code)
    assert re.search(words, way_out("c", code, row))


def test_labels_that_disagree_are_nothing_to_release(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    labels = tmp_path / "labels.csv"
    labels.write_text("id,word\none,yes\none,no\n")
    config = make_config(tmp_path, labels={"file": str(labels), "key": "id"})
    ingest(config)
    assert drops(config) == {"one": "label_conflict"} and live(config) == {"one"}
    before = tree(config.store)
    for which in ("label_conflict", "one"):
        with pytest.raises(ConfigError, match="Correct or remove the others in the labels table"):
            release_quarantined(config, CORPUS, which, "please")
    assert tree(config.store) == before
