"""A project at another path is the same project; what plan and run say when only a model, or nothing, is due."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, OLD_S, tree
from typed_projects import LABELS, Type, model_table, write_config

from mmpipe.config import load_config
from mmpipe.steps.ingest.ingest import ingest_reason

pytestmark = pytest.mark.usefixtures("warm_workers")
MODEL = model_table("tones", "audio-mfccseg", epochs=3)


@pytest.fixture
def project(published: Path, tmp_path: Path) -> Path:
    """Return a project of one's own, to change."""
    return Path(shutil.copytree(published, tmp_path / "project"))


def test_a_project_that_was_moved_has_nothing_to_do(project: Path, tmp_path: Path, mmpipe: Type) -> None:
    mmpipe(project, "run", "--dt", DT)  # the copy's files are looked at once: they have other inodes
    project = project.rename(tmp_path / "elsewhere")
    before = tree(project)
    assert ingest_reason(load_config(project / "mmpipe.toml"), CORPUS, DT) == ""
    assert mmpipe(project, "plan", "--json").json()["due"] == []
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 0 and told.out.startswith("nothing to do") and tree(project) == before


def test_the_plan_names_the_training_that_a_run_does(project: Path, mmpipe: Type) -> None:
    mmpipe(project, "run", "--dt", DT)
    write_config(project, LABELS, model_table("tones", "audio-mfccseg", epochs=1))
    (row,) = mmpipe(project, "plan", "--json").json()["due"]
    assert (row["feature"], row["reason"]) == (
        "(train tones)",
        "new clips, features or settings since the last release",
    )
    assert "(train tones)" in mmpipe(project, "plan").out
    assert mmpipe(project, "run", "--dt", DT, "--dry-run").out == f"train tones: {row['reason']}\n"
    write_config(project, LABELS, MODEL, "[features.audio-mfccseg]\nnum_mels = 30")
    due = mmpipe(project, "plan", "--json").json()["due"]
    assert due[-1]["reason"] == "after its inputs, which are due: audio-mfccseg"
    assert mmpipe(project, "plan", "--feature", "text-ngrams", "--json").json()["due"] == []


def test_only_a_verdict_of_this_run_ends_with_4(project: Path, mmpipe: Type) -> None:
    write_config(project, LABELS, model_table("tones", "audio-mfccseg", "text-ngrams", epochs=1))
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 4 and "the gate refused" in told.err
    again = mmpipe(project, "run", "--dt", DT)
    assert again.code == 0 and again.out.startswith("nothing to do") and "the gate refused tones@" in again.out
    os.utime(project / "media" / "s00.wav", (OLD_S, OLD_S))  # looked at again, and found to be the same
    again = mmpipe(project, "run", "--dt", DT)
    assert again.code == 0 and "refused" in again.out and not again.out.startswith("nothing to do")
