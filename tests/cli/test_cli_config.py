"""Lines that tell a person what to type: the keys of the config, a first config that would run, what gc removes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_maker import OLD_S, write_pairs
from typed_projects import AUDIO, Type, write_sample_project, write_words

from mmpipe.config.keys import list_keys
from mmpipe.features.frame_choice import USUAL_FRAMES
from mmpipe.features.registry import default_features


def test_every_key_of_the_tree_has_a_description_and_a_type() -> None:
    keys = list(list_keys())
    assert [key.key for key in keys if not key.description] == []
    assert [key.key for key in keys if not key.type or "[" in key.type] == []
    assert len({key.key for key in keys}) == len(keys) > 80


def test_the_keys_are_told_with_default_and_limits(tmp_path: Path, mmpipe: Type) -> None:
    every = {row["key"]: row for row in mmpipe(tmp_path, "config", "--json").json()}
    clips = every["corpora.NAME.clips.length_s"]
    assert (clips["type"], clips["default"], clips["limits"]) == ("number", "2.0", "> 0, <= 3600")
    assert every["corpora.NAME.root"]["required"]
    assert every["corpora.NAME.clips.rule"]["type"] == "whole | window | cues | shots | speech"
    assert every["models.NAME.train.seeds"]["type"] == "list of whole numbers"
    assert {f"features.{name}" for name in default_features()} <= {key.rpartition(".")[0] for key in every}
    frames = every["features.video-hf.num_frames"]  # what is chosen where none of three ways to choose is named
    assert (frames["default"], every["features.video-pixels.num_frames"]["default"]) == (str(USUAL_FRAMES), "8")
    assert every["features.video-hf.frame_rate"]["default"] == "", "it has none"
    assert every["engine.device"]["limits"] == "" and "cuda:1" in every["engine.device"]["description"]
    below = mmpipe(tmp_path, "config", "corpora.limits", "--json").json()
    assert below == mmpipe(tmp_path, "config", "corpora.street.limits", "--json").json()
    assert below and all(row["key"].startswith("corpora.NAME.limits") for row in below)
    assert "(required)" in mmpipe(tmp_path, "config", "models").out
    told = mmpipe(tmp_path, "config", "corpora.street.limit")
    assert told.code == 3 and "no key begins with 'corpora.street.limit'" in told.err


@pytest.mark.parametrize("device", ["tpu", "cuda:", "CUDA", "cuda:0 "])
def test_a_device_that_is_none_is_told_what_is_allowed(tmp_path: Path, mmpipe: Type, device: str) -> None:
    (tmp_path / "mmpipe.toml").write_text(f'store = "store"\n[engine]\ndevice = "{device}"\n', encoding="utf-8")
    told = mmpipe(tmp_path, "ls")
    allowed = 'allowed are "auto", "cpu", "cuda", or one of several: "cuda:1"'
    assert told.code == 3 and f"engine.device = {device!r}: {allowed}" in told.err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--target", "nonesuch"), "has no column 'nonesuch'; known columns are: ['speaker', 'word']"),
        (("--target", "cue"), "Cut clips by cues: --clips cues"),
    ],
)
def test_a_target_that_no_clip_would_have_is_refused_before_anything_is_written(
    tmp_path: Path, mmpipe: Type, options: tuple[str, ...], why: str
) -> None:
    write_words(tmp_path)
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--labels", "labels.jsonl", *options)
    assert told.code == 3 and why in told.err and not (tmp_path / "mmpipe.toml").exists()
    assert mmpipe(tmp_path, "init", "--corpus", "media", "--labels", "labels.jsonl", "--target", "word").code == 0
    assert "Every key: mmpipe config" in (tmp_path / "mmpipe.toml").read_text("utf-8")


def test_a_target_without_labels_is_refused(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["a"])
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--target", "word")
    assert told.code == 3 and "there is none. Name one: --labels" in told.err


def test_the_way_to_remove_garbage_is_the_line_that_was_typed(tmp_path: Path, mmpipe: Type) -> None:
    project = write_sample_project(tmp_path, AUDIO)
    stray = project / "store" / "sample" / "audio-toy@1" / "objects" / "ab" / ("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"nobody's")
    os.utime(stray, (OLD_S, OLD_S))
    told = mmpipe(project, "gc", "--older-than", "0", "--corpus", "sample")
    assert "Remove it: mmpipe gc --corpus sample --older-than 0 --delete;" in told.out and stray.exists()
    assert mmpipe(project, "gc", "--corpus", "sample", "--older-than", "0", "--delete").code == 0
    assert not stray.exists()
