"""Going on from a release, as typed: what is told where there is nothing to better, and which groups there are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typed_projects import Type

LINES = ("train", "evaluate", "publish")


@pytest.fixture
def project(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def with_finetune(project: Path, table: str) -> None:
    config = project / "mmpipe.toml"
    config.write_text(config.read_text() + f"\n[models.tones.finetune]\n{table}\n")


@pytest.mark.parametrize("verb", LINES)
def test_a_model_of_one_input_has_no_weak_modality_and_nothing_is_done(
    published: Path, mmpipe: Type, verb: str
) -> None:
    before = sorted((published / "store" / "checkpoints").iterdir())
    told = mmpipe(published, verb, "--focus", "weak")
    assert told.code == 0 and told.out.startswith("tones@2-")
    assert "so none of them is called weak" in told.out.replace("\n", " ")
    assert sorted((published / "store" / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("verb", LINES[1:])
def test_nothing_done_is_told_as_json_too(published: Path, mmpipe: Type, verb: str) -> None:
    told = mmpipe(published, verb, "--focus", "weak", "--json").json()
    assert (told["focus"], told["done"]) == ("weak", False) and "none of them is called weak" in told["why"]


def test_a_group_that_is_none_is_told_with_those_that_are_by_every_verb(project: Path, mmpipe: Type) -> None:
    with_finetune(project, 'freeze = ["encoders.audio-logmel"]')
    for line in ("plan", "doctor", "train --dry-run"):
        told = mmpipe(project, *line.split())
        said = " ".join((told.out + told.err).split())
        assert told.code == 3, line
        assert "freeze names the group 'encoders.audio-logmel'" in said
        assert "the groups are: encoders, encoders.audio-mfccseg, head" in said


def test_a_training_tells_what_it_took_over_and_what_that_changed(project: Path, mmpipe: Type) -> None:
    with_finetune(project, 'begin_from = "release:tones@2"\nrates = { "encoders.audio-mfccseg" = 0.1 }')
    assert mmpipe(project, "train", "--dry-run").out == "would train tones\n"
    told = mmpipe(project, "train")
    assert "audio-mfccseg@1 begins from tones@2-" in told.err and ": 7 of 7 tensors are taken over" in told.err
    assert "change, on the same clips" in told.out and told.code == 0
    config = project / "mmpipe.toml"
    config.write_text(config.read_text().replace("folds = 2", "folds = 3"))
    refused = mmpipe(project, "train")
    assert refused.code == 3 and "finetune.begin_from = 'release:tones@2': leak: tones@2-" in refused.err


def test_the_keys_are_told_with_their_meaning(tmp_path: Path, mmpipe: Type) -> None:
    every = {row["key"]: row for row in mmpipe(tmp_path, "config", "models.NAME.finetune", "--json").json()}
    names = "begin_from preprocessing singles freeze unfreeze rates lora lora.rank lora.groups focus"
    assert {f"models.NAME.finetune.{name}" for name in names.split()} <= set(every)
    assert every["models.NAME.finetune.preprocessing"]["type"] == "kept | anew"
    assert every["models.NAME.finetune.lora.rank"]["default"] == "8"
