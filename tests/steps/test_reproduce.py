"""A release made again from its own files and its snapshot: the same bytes, or the first thing that differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from corpus_maker import tree
from kill_models import MODEL

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import canonical_json
from mmpipe.registry.aliases import find_version
from mmpipe.registry.versions import Version, publish_version
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.train import environment
from mmpipe.steps.train.reproduce import Outcome, Reproduction, reproduce_release
from mmpipe.steps.train.training_record import RECORD_NAME, TrainingRecord, read_record
from mmpipe.store.layout import open_store

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


def released(config: Config) -> Version:
    return find_version(open_store(config.store).models, MODEL, "production")


def row(made: Reproduction, what: str) -> dict:
    return next(row for row in made.table() if row["what"].startswith(what))


def republished(config: Config, **changes: bytes) -> str:
    """Publish the version in production with other files in place of some of its own; return the reference."""
    version = released(config)
    files = {name: version.read(name) for name in version.files() if name != "version.json"}
    files |= {name.replace("_", "."): data for name, data in changes.items()}
    made = publish_version(open_store(config.store).models, MODEL, files, status="candidate", recipe_digest="x")
    return f"{MODEL}@{made.number}"


def test_the_same_bytes_come_again_and_the_store_is_not_touched(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    before = tree(config.store)
    made = reproduce_release(config, MODEL, answers=True)
    assert (made.outcome, made.reason, made.differs, made.notes) == (Outcome.REPRODUCED, "", (), ())
    assert all(row["equal"] for row in made.table())
    names = ["model.safetensors", "tensors", "answers about 48 clips", "best epoch", "validation loss",
             "predictions.parquet"]  # fmt: skip
    assert [row["what"] for row in made.table()] == names
    assert row(made, "tensors")["max_difference"] == row(made, "predictions")["max_difference"] == 0.0
    assert tree(config.store) == before


def test_a_version_is_enough_whatever_became_of_config_and_checkpoint(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    shutil.rmtree(config.store / "checkpoints")
    model = config.models[MODEL]
    other = model.model_copy(update={"folds": 2, "train": model.train.model_copy(update={"epochs": 3})})
    source = next(iter(config.corpora.values()))
    moved = source.model_copy(
        update={"root": tmp_path / "gone", "split": source.split.model_copy(update={"salt": "x"})}
    )
    changed = config.model_copy(
        update={"models": {MODEL: other}, "corpora": {model.corpus: moved}, "features": {"text-ngrams": {"dim": 8}}}
    )
    made = reproduce_release(changed, MODEL)
    assert made.outcome is Outcome.REPRODUCED
    assert made.notes == (
        "the config has changed since (models.who.folds, models.who.train): the version's own settings were used",
    )
    bare = config.model_copy(update={"models": {}, "corpora": {}})
    told = reproduce_release(bare, MODEL)
    assert told.outcome is Outcome.REPRODUCED
    assert told.notes == ("the config has no model who: the version's own settings were used",)


def test_the_record_holds_the_settings_and_no_place(winning):
    version = released(winning.config)
    record = read_record(version)
    assert record.model == winning.config.models[MODEL]
    assert record.split == next(iter(winning.config.corpora.values())).split
    assert (record.contender, record.seed, record.environment["threads"]) == ("concat", 0, "1")
    assert record.num_train_clips + record.num_val_clips == 48
    assert TrainingRecord.from_bytes(record.to_bytes(), "itself") == record
    assert str(winning.folder).encode() not in version.read(RECORD_NAME)


def test_a_snapshot_that_was_tampered_with_is_named(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    digest = json.loads(released(config).read("lineage.json"))["snapshot"]
    shards = [
        path for path in config.store.rglob("objects/*/*") if path.is_file() and path.parents[2].name == "text-ngrams@1"
    ]
    for path in shards:
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-9] + bytes(9))
    made = reproduce_release(config, MODEL)
    assert made.outcome is Outcome.NOT_REPRODUCED and not made.compared
    assert made.reason.startswith("what it was made from is damaged: ")
    assert "text-ngrams@1" in made.reason
    manifest = max((config.store / "talk" / "clips" / "_meta").rglob("*.json"))
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b"clip", b"clap"))
    assert reproduce_release(config, MODEL).reason.startswith(f"the snapshot {digest} is not as it was: ")


def test_a_snapshot_that_is_gone_is_named(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    digest = json.loads(released(config).read("lineage.json"))["snapshot"]
    (config.store / "snapshots" / f"{digest}.json").unlink()
    made = reproduce_release(config, MODEL)
    assert made.outcome is Outcome.NOT_REPRODUCED
    assert f"no snapshot {digest}" in made.reason


def test_what_was_forgotten_cannot_be_learnt_from_again(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    forget(config, winning.config.models[MODEL].corpus, "clip-05", "they asked")
    made = reproduce_release(config, MODEL)
    assert made.outcome is Outcome.NOT_REPRODUCED
    assert "is redacted: 1 asset was forgotten out of it since" in made.reason


def test_another_seed_is_another_network(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    version = released(config)
    table = json.loads(version.read(RECORD_NAME))
    table["model"]["train"]["seeds"] = [1]
    reference = republished(config, training_json=canonical_json(table))
    made = reproduce_release(config, reference, tolerance=1e-5)
    assert made.outcome is Outcome.NOT_REPRODUCED
    assert made.reason.startswith("The first thing that differs: the recipe: ")
    assert "above the tolerance 1e-05" in made.reason and row(made, "tensors")["max_difference"] > 0.01
    loose = reproduce_release(config, reference, tolerance=1.0)
    assert loose.outcome is Outcome.WITHIN_TOLERANCE


def test_weights_that_are_nearly_the_same_are_within_the_tolerance(winning, tmp_path, monkeypatch):
    from safetensors.numpy import load, save

    config = winning.place(winning.config.store, tmp_path)
    version = released(config)
    tensors = load(version.read("model.safetensors"))
    name = next(name for name in tensors if name.startswith("head."))
    tensors[name] = tensors[name] + 1e-6
    reference = republished(config, model_safetensors=save(tensors, {"format": "pt"}))
    made = reproduce_release(config, reference)
    assert made.outcome is Outcome.WITHIN_TOLERANCE
    assert f"the first tensor that does is {name}" in made.reason
    assert 0 < row(made, "tensors")["max_difference"] < 1e-5 and 0 < row(made, "answers")["max_difference"] < 1e-4
    monkeypatch.setattr(environment, "code_digest", lambda: "0" * 64)
    again = reproduce_release(config, reference)
    assert again.reason.startswith("The first thing that differs: mmpipe's code: ")
    assert [line.partition(":")[0] for line in again.differs] == ["mmpipe's code"]


def test_a_version_that_does_not_say_how_it_was_trained_is_a_fault_of_the_question(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    version = released(config)
    files = {name: version.read(name) for name in version.files() if name not in ("version.json", RECORD_NAME)}
    old = publish_version(open_store(config.store).models, MODEL, files, status="candidate", recipe_digest="x")
    with pytest.raises(ConfigError, match=r"does not say how it was trained: it has no training\.json"):
        reproduce_release(config, f"{MODEL}@{old.number}")
    with pytest.raises(ConfigError, match="has no version '9'"):
        reproduce_release(config, f"{MODEL}@9")


def test_another_file_format_is_refused(winning):
    version = released(winning.config)
    table = json.loads(version.read(RECORD_NAME)) | {"format": 2}
    with pytest.raises(ConfigError, match="is of another format than 1"):
        TrainingRecord.from_bytes(canonical_json(table), str(Path("there")))
