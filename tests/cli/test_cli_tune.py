"""`mmpipe tune`, typed."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from corpus_maker import tree
from typed_projects import LABELS, Type, model_table, write_config

pytestmark = pytest.mark.usefixtures("warm_workers")
TUNE = """
[models.tones.tune]
learning_rate = [1e-3, 1e-1]
batch_clips = []
encoder.width = [4, 8]
top = 1
seeds = [0, 1]
"""


@pytest.fixture
def project(published: Path, tmp_path: Path) -> Path:
    """Return a project of one's own whose model has a search."""
    folder = Path(shutil.copytree(published, tmp_path / "project"))
    write_config(folder, LABELS, model_table("tones", "audio-mfccseg", epochs=3) + TUNE)
    return folder


def test_a_dry_run_says_what_would_be_tried_and_writes_nothing(project: Path, mmpipe: Type) -> None:
    before = tree(project)
    told = mmpipe(project, "tune", "--trials", "7", "--dry-run")
    assert told.code == 0, told
    assert "train.learning_rate" in told.out and "0.001 to 0.1, by logarithm" in told.out
    assert "encoder.width" in told.out and "0 trials there, 7 to do" in told.out
    found = mmpipe(project, "tune", "--trials", "7", "--dry-run", "--json").json()
    assert found["left"] == 7 and found["trials"] == [] and found["best"] == {}
    assert {row["key"] for row in found["tried"]} >= {"train.dropout", "encoder.width"}
    assert tree(project) == before


def test_a_search_says_its_trials_and_what_to_put_into_the_config(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "tune", "--trials", "3")
    assert told.code == 0, told
    assert "trials of tones" in told.out and "the best, trained again" in told.out
    snippet = tomllib.loads(told.out.split("then: mmpipe train\n")[1])["models"]["tones"]
    assert 1e-3 <= snippet["train"]["learning_rate"] <= 1e-1 and snippet["encoder"]["width"] in (4, 8)
    assert "3 trials, 3 finished; 3 by this run" in told.err.replace("\n", " ")
    found = mmpipe(project, "tune", "--trials", "3", "--json").json()
    assert found["new"] == 0 and len(found["trials"]) == 3 and found["toml"].strip() in told.out
    assert found["best"]["train.learning_rate"] == snippet["train"]["learning_rate"]
    (kept,) = project.glob("store/_runs/tune/tones-*/best.toml")
    assert kept.read_text() == found["toml"]
    more = mmpipe(project, "tune", "--trials", "4", "--timeout", "0", "--json").json()
    assert (more["new"], more["left"]) == (0, 1)


def test_a_space_that_cannot_be_searched_is_refused_with_the_key(project: Path, mmpipe: Type) -> None:
    wrong = TUNE.replace("[1e-3, 1e-1]", "[1e-1, 1e-3]")
    write_config(project, LABELS, model_table("tones", "audio-mfccseg", epochs=3) + wrong)
    told = mmpipe(project, "tune")
    assert told.code == 3 and "models.tones.tune.learning_rate" in told.err and "low < high" in told.err
