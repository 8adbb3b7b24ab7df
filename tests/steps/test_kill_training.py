"""Kill a training or a release anywhere and run it again: the same answers, the same weights, one version."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from kill_corpus import differing
from kill_models import MODEL
from kill_process import KILLED

from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import nominate, promote, read_aliases, read_events, rollback
from mmpipe.registry.versions import list_versions, publish_version, verify_version
from mmpipe.steps.release.release import last_release, release_model, release_reason
from mmpipe.steps.train.train import train_model

pytest_plugins = ("kill_fixtures",)

LONG = bool(os.environ.get("MMPIPE_LONG_KILLS"))
TRAIN_POINTS = range(1, 700, 6) if LONG else (260,)
RELEASE_POINTS = (
    range(1, 160) if LONG else (pytest.param(5, marks=pytest.mark.sweep), pytest.param(57, marks=pytest.mark.slow), 62)
)


def results_of(store: Path) -> dict[str, str]:
    """Return the digests of what a training promises: answers, weights, and the record that ends it."""
    names = ("*/fits/*/*/*.parquet", "*/release/*/*.safetensors", "*/release/*/config.json", "*/checkpoint.json")
    root = store / "checkpoints"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in names
        for path in root.glob(pattern)
    }


def models_of(store: Path) -> dict[str, str]:
    """Return the digests of everything that is published, and where the aliases point; moves without their clock."""
    root = store / "models" / MODEL
    found = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.glob("versions/**/*")
        if path.is_file()
    }
    moves = [(event["revision"], event["action"], event["version"]) for event in read_events(store / "models", MODEL)]
    return found | {"aliases": str(read_aliases(store / "models", MODEL).names), "moves": str(moves)}


@pytest.mark.parametrize("point", TRAIN_POINTS)
def test_killed_in_a_training_a_second_run_gives_the_same_answers_and_weights(winning, model_forks, tmp_path, point):
    config = winning.place(winning.extracted, tmp_path)
    code = model_forks.run("train", tmp_path / "config.json", fault=f"any:{point}:kill")
    assert code == KILLED or (LONG and code == 0)
    assert model_forks.run("train", tmp_path / "config.json") == 0, model_forks.error
    assert differing(results_of(config.store), results_of(winning.before_release)) == []
    assert len(results_of(config.store)) > 30


@pytest.mark.parametrize("point", (3, 5))
def test_killed_while_it_writes_the_weights_for_release_a_second_run_writes_them(winning, model_forks, tmp_path, point):
    """All fits are there; the first write is the lease's, then come weights and config of each release."""
    config = winning.place(winning.before_release, tmp_path)
    folder = config.store / "checkpoints" / winning.trained.checkpoint
    (folder / "checkpoint.json").unlink()
    shutil.rmtree(folder / "release")
    assert model_forks.run("train", tmp_path / "config.json", fault=f"write:{point}:kill") == KILLED
    assert [path for path in folder.glob("**/weights/*") if path.stat().st_size == 0] != []
    assert model_forks.run("train", tmp_path / "config.json") == 0, model_forks.error
    assert differing(results_of(config.store), results_of(winning.before_release)) == []


@pytest.mark.parametrize("point", RELEASE_POINTS)
@pytest.mark.parametrize("kind", ["winning", "losing"] if LONG else ["losing"])
def test_killed_in_a_release_a_second_run_publishes_and_promotes_once(request, model_forks, tmp_path, kind, point):
    made = request.getfixturevalue(kind)
    config = made.place(made.before_release, tmp_path)
    code = model_forks.run("release", tmp_path / "config.json", fault=f"any:{point}:kill")
    assert code == KILLED or (LONG and code == 0)
    for version in list_versions(config.store / "models", MODEL):
        verify_version(version)
    assert model_forks.run("release", tmp_path / "config.json") == 0, model_forks.error
    assert differing(models_of(config.store), models_of(made.config.store)) == []
    assert release_reason(config, MODEL) == ""


def test_a_release_that_was_killed_before_its_moves_is_due_and_makes_them(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    for name in ("aliases.json", "events.jsonl"):
        (config.store / "models" / MODEL / name).unlink()
    assert release_reason(config, MODEL) == "the last release was cut short"
    assert last_release(config, MODEL).production == ""  # looking moves nothing
    report = release_model(config, MODEL, winning.trained.checkpoint)
    assert report == winning.released
    assert report.production == report.version
    assert release_reason(config, MODEL) == ""


def test_a_release_that_was_killed_between_its_two_versions_is_due_and_makes_the_second(losing, tmp_path):
    config = losing.place(losing.config.store, tmp_path)
    for name in ("aliases.json", "events.jsonl"):
        (config.store / "models" / MODEL / name).unlink()
    shutil.rmtree(config.store / "models" / MODEL / "versions" / losing.released.offered_version)
    assert release_reason(config, MODEL) != ""
    assert last_release(config, MODEL) is None
    assert release_model(config, MODEL, losing.trained.checkpoint) == losing.released
    assert differing(models_of(config.store), models_of(losing.config.store)) == []


def test_a_second_release_publishes_nothing_and_says_the_same(winning, losing, tmp_path):
    for name, made in (("won", winning), ("lost", losing)):
        (tmp_path / name).mkdir()
        config = made.place(made.config.store, tmp_path / name)
        assert release_model(config, MODEL, made.trained.checkpoint) == made.released
        assert last_release(config, MODEL) == made.released
        assert differing(models_of(config.store), models_of(made.config.store)) == []


def test_what_a_person_took_back_is_not_promoted_again(winning, tmp_path):
    """Healing makes a move that was never made; it does not undo a person's."""
    config = winning.place(winning.before_release, tmp_path)
    models = config.store / "models"
    source = next((winning.config.store / "models" / MODEL / "versions").iterdir())
    files = {path.name: path for path in source.iterdir() if path.name not in ("SHA256SUMS", "version.json")}
    older = publish_version(models, MODEL, files, status="candidate", recipe_digest="x")
    promote(models, MODEL, older.label, why="for the sake of the test")
    report = release_model(config, MODEL, winning.trained.checkpoint)
    assert report.production == report.version != older.label
    rollback(models, MODEL, why="a person said so")
    assert release_reason(config, MODEL) == ""
    assert release_model(config, MODEL, winning.trained.checkpoint).production == older.label


def test_a_release_of_old_does_not_step_over_a_later_one(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    models = config.store / "models"
    for name in ("aliases.json", "events.jsonl"):
        (models / MODEL / name).unlink()
    later = publish_version(models, MODEL, {"model.txt": b"later"}, status="candidate", recipe_digest="x")
    nominate(models, MODEL, later.label, why="it came later")
    promote(models, MODEL, later.label, why="it came later")
    assert release_model(config, MODEL, winning.trained.checkpoint).production == later.label


def test_leftovers_of_a_killed_write_are_no_part_of_a_version(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path)
    folder = next((config.store / "checkpoints").glob("*/release/concat"))
    (folder / ".parity.json.0123.tmp").write_bytes(b"cut sho")
    report = release_model(config, MODEL, winning.trained.checkpoint)
    assert report.version == winning.released.version


def test_one_version_per_recipe_and_gate(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path, min_groups=11)
    report = release_model(config, MODEL, winning.trained.checkpoint)
    versions = list_versions(config.store / "models", MODEL)
    assert Counter(version.recipe_digest for version in versions).most_common(1)[0][1] == 1
    assert report.version == versions[-1].label != winning.released.version
    checks = json.loads(versions[-1].read("verdict.json"))["checks"]
    assert {check["name"]: check["value"] for check in checks if check["name"] == "production"} == {"production": 0.0}


def test_another_config_of_the_model_is_another_checkpoint(winning, tmp_path):
    config = winning.place(winning.extracted, tmp_path)
    model = config.models[MODEL]
    other = config.model_copy(update={"models": {MODEL: model.model_copy(update={"target": "room"})}})
    assert release_reason(other, MODEL) != ""
    with pytest.raises(ConfigError, match="mmpipe train"):
        release_model(config, MODEL, "who-000000000000000000000000")
    assert train_model(config, MODEL).checkpoint == winning.trained.checkpoint
