"""Trainings that go on from a release: what they begin from, what they may not have learnt, and what is told of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from kill_corpus import CORPUS, DT
from kill_models import MODEL, NUM_GROUPS, model_table, write_pairs_that_need_both

from mmpipe.config import Config, ModelConfig, parse_config
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.files import from_parquet
from mmpipe.registry.taint import mark_version, read_checkpoint_taint, read_taint
from mmpipe.registry.versions import Version, pick_version
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.candidates import fit_folder
from mmpipe.steps.train.finetune import find_beginning
from mmpipe.steps.train.finetune_change import measure_change
from mmpipe.steps.train.train import current_recipe, is_trained, train_model
from mmpipe.steps.train.training_set import open_training_set, plan_parts
from mmpipe.store.layout import StoreLayout
from mmpipe.train.weights import load_model

if TYPE_CHECKING:
    from kill_fixtures import TrainedStore

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")
OTHER = "other"
SHORT = {"epochs": 2, "learning_rate": 1e-3}


def going_on(config: Config, finetune: dict[str, Any], train: dict[str, Any] | None = None, **more: Any) -> Config:
    """Return the config with a model that goes on from what a release has, checked as a file's would be."""
    table = config.models[MODEL].model_dump()
    table["train"] |= SHORT | (train or {})
    model = ModelConfig(**{**table, "finetune": finetune, **more})
    return config.model_copy(update={"models": {MODEL: model}})


def beginning(config: Config):
    model = config.models[MODEL]
    return find_beginning(config, model, open_training_set(config, model))


def version_of(config: Config, label: str) -> Version:
    return pick_version(StoreLayout(config.store).models, MODEL, label)


@pytest.fixture(scope="module")
def release(winning: TrainedStore) -> str:
    return f"release:{MODEL}@{winning.released.version}"


@pytest.fixture(scope="module")
def tuned(winning: TrainedStore, release: str, tmp_path_factory: pytest.TempPathFactory):
    """Return a store with a training that went on from its release with everything but one encoder frozen."""
    config = winning.place(winning.config.store, tmp_path_factory.mktemp("tuned"))
    finetune = {"begin_from": release, "freeze": ["encoders.audio-mfccseg", "fusion"], "rates": {"head": 0.5}}
    config = going_on(config, finetune)
    return config, train_model(config, MODEL)


# --------------------------------------------------------------------------- where it begins


def test_each_fold_begins_from_the_network_that_never_saw_what_it_tests(winning, release):
    config = going_on(winning.config, {"begin_from": release})
    found = beginning(config)
    checkpoint = StoreLayout(config.store).checkpoints / winning.trained.checkpoint
    assert tuple(network.folder for network in found.parts) == tuple(
        fit_folder(checkpoint, "concat", part, 0).weights for part in range(3)
    )
    assert found.last.folder == version_of(config, winning.released.version).path
    assert found.features == {"audio-mfccseg@1", "text-ngrams@1"}
    data = open_training_set(config, config.models[MODEL])
    for part in plan_parts(config.models[MODEL], config.corpora[CORPUS].split, data):
        tested = set(fit_folder(checkpoint, "concat", part.number, 0).read("test").keys)
        assert {data.keys[row] for row in part.test_rows} == tested


@pytest.mark.parametrize("folds", [0, 2, 4])
def test_weights_that_have_learnt_what_is_tested_are_refused_by_name(winning, release, folds):
    config = going_on(winning.config, {"begin_from": release}, folds=folds)
    judged = "the test split" if not folds else rf"fold \d of {folds}"
    said = rf"finetune.begin_from = '{release}': leak: {MODEL}@1-.* has learnt from \d+ groups, first 'room-.*{judged}"
    with pytest.raises(ConfigError, match=said):
        train_model(config, MODEL)
    with pytest.raises(ConfigError, match="Begin from a release that was judged by the same split"):
        is_trained(config, MODEL)


def test_a_release_that_is_gone_tainted_or_no_network_of_this_kind_is_refused(winning, tmp_path, release):
    config = winning.place(winning.config.store, tmp_path)
    with pytest.raises(ConfigError, match=r"finetune.begin_from = 'release:who@7'.*7"):
        beginning(going_on(config, {"begin_from": "release:who@7"}))
    with pytest.raises(ConfigError, match="nobody"):
        beginning(going_on(config, {"begin_from": "release:nobody@1"}))
    mark_version(StoreLayout(config.store).models, MODEL, winning.released.version, ("x",), "asked to")
    with pytest.raises(ConfigError, match="is tainted: trained on 1 asset that was forgotten since"):
        beginning(going_on(config, {"begin_from": release}))


def test_where_it_begins_is_part_of_the_recipe(winning, release):
    plain = going_on(winning.config, {})
    assert current_recipe(plain, MODEL) != current_recipe(going_on(winning.config, {"begin_from": release}), MODEL)
    frozen = going_on(winning.config, {"begin_from": release, "freeze": ["fusion"]})
    assert len({current_recipe(config, MODEL) for config in (plain, frozen, winning.config)}) == 3


# --------------------------------------------------------------------------- what learns


def test_what_is_frozen_is_that_of_the_release_to_the_byte(tuned, winning):
    config, trained = tuned
    folder = StoreLayout(config.store).checkpoints / trained.checkpoint
    before = load_model(version_of(config, winning.released.version).path).state_dict()
    after = load_model(folder / "release" / "concat").state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    frozen = ("encoders.audio-mfccseg@1", "fusion", "preprocess")
    assert same == {name for name in before if name.startswith(frozen)}
    found = beginning(config)
    for part, place in enumerate(found.parts):
        before = load_model(place.folder).state_dict()
        after = load_model(fit_folder(folder, "concat", part, 0).weights).state_dict()
        assert all(torch.equal(before[name], after[name]) for name in same), part


def test_what_was_taken_over_is_told_by_contender(tuned, winning):
    config, trained = tuned
    label = f"{MODEL}@{winning.released.version}"
    assert {note.partition(":")[0] for note in trained.notes} == {
        f"{name} begins from {label}" for name in ("audio-mfccseg@1", "text-ngrams@1", "concat")
    }
    assert all("tensors are taken over" in note and "new are" not in note for note in trained.notes)
    table = json.loads((StoreLayout(config.store).checkpoints / trained.checkpoint / "checkpoint.json").read_bytes())
    begun = table["finetuned"]
    assert (begun["release"], begun["corpus"], begun["status"]) == (label, CORPUS, "candidate")
    assert begun["settings"]["freeze"] == ["encoders.audio-mfccseg", "fusion"]
    assert begun["contenders"]["concat"]["taken"] == len(load_model(beginning(config).last.folder).state_dict())


def test_it_is_trained_once_and_goes_on_where_it_was_cut_short(tuned, tmp_path, winning):
    config, trained = tuned
    assert train_model(config, MODEL).num_fits == 0
    copied = winning.place(config.store, tmp_path).model_copy(update={"models": config.models})
    folder = StoreLayout(copied.store).checkpoints / trained.checkpoint
    before = (folder / "release" / "concat" / "model.safetensors").read_bytes()
    (folder / "checkpoint.json").unlink()
    for answers in folder.glob("fits/concat/*/test.parquet"):
        answers.unlink()
    shutil.rmtree(folder / "release")
    again = train_model(copied, MODEL)
    assert again.num_fits > 0 and again.scores == trained.scores
    assert (folder / "release" / "concat" / "model.safetensors").read_bytes() == before


def test_a_network_of_which_nothing_would_learn_is_refused_before_any_fit(winning, tmp_path, release):
    config = winning.place(winning.config.store, tmp_path)
    everything = ["encoders", "fusion", "head", "unimodal_heads"]
    wrong = going_on(config, {"begin_from": release, "freeze": everything})
    before = sorted(StoreLayout(config.store).checkpoints.glob("*/fits/*"))
    with pytest.raises(ConfigError, match="nothing learns in epoch 1"):
        train_model(wrong, MODEL)
    assert sorted(StoreLayout(config.store).checkpoints.glob("*/fits/*")) == before


def test_adapters_leave_plain_weights_and_a_word_in_the_card(winning, release, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    lora = {"rank": 2, "alpha": 4.0, "groups": ["encoders.audio-mfccseg", "fusion"]}
    config = going_on(config, {"begin_from": release, "lora": lora, "singles": "anew"})
    trained = train_model(config, MODEL)
    before = load_model(version_of(config, winning.released.version).path).state_dict()
    after = load_model(StoreLayout(config.store).checkpoints / trained.checkpoint / "release" / "concat").state_dict()
    assert set(after) == set(before)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    heads = {name for name in before if name.startswith(("head", "unimodal_heads"))}
    assert moved == heads | {"encoders.audio-mfccseg@1.layers.0.weight", "fusion.mix.weight"}
    report = release_model(config, MODEL, trained.checkpoint)
    card = version_of(config, report.version).read("README.md").decode()
    said = "Low-rank adapters (rank 2) of encoders.audio-mfccseg, fusion learnt, and are merged into its weights."
    assert said in card


# --------------------------------------------------------------------------- what is told


@pytest.fixture(scope="module")
def published(tuned, winning, tmp_path_factory):
    config, trained = tuned
    copied = winning.place(config.store, tmp_path_factory.mktemp("published")).model_copy(
        update={"models": config.models}
    )
    return copied, release_model(copied, MODEL, trained.checkpoint)


def test_the_change_is_measured_on_the_same_clips_by_group(tuned):
    config, trained = tuned
    whole, sound, words = measure_change(config, MODEL, trained.checkpoint)
    assert [change.what for change in (whole, sound, words)] == [
        "concat",
        "concat with audio-mfccseg@1 alone",
        "concat with text-ngrams@1 alone",
    ]
    assert whole.before == 1.0
    folder = StoreLayout(config.store).checkpoints / trained.checkpoint
    parts = [fit_folder(folder, "concat", part, 0).read("test") for part in range(3)]
    assert whole.after == pytest.approx(np.mean(np.concatenate([part.correct_N for part in parts])))
    for change in (whole, sound, words):
        assert change.change.num_groups == NUM_GROUPS
        assert change.change.estimate == pytest.approx(change.after - change.before)
        assert change.change.low <= change.change.estimate <= change.change.high


def test_the_version_says_where_its_weights_began(published, winning):
    config, report = published
    version = version_of(config, report.version)
    begun = json.loads(version.read("lineage.json"))["finetuned"]
    assert begun["release"] == f"{MODEL}@{winning.released.version}"
    weights = version_of(config, winning.released.version).path / "model.safetensors"
    assert begun["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert begun["changes"][0]["change"]["num_groups"] == NUM_GROUPS
    card = version.read("README.md").decode()
    assert f"Its weights begin from {MODEL}@{winning.released.version}: " in card
    assert "Frozen while it learnt: encoders.audio-mfccseg, fusion." in card
    assert f"weights of {MODEL}@{winning.released.version}" in card
    assert f"Against {MODEL}@{winning.released.version} on the same clips, concat: +0.000 \\[" in card
    assert len(from_parquet(version.read("predictions.parquet")).keys) == 48


def test_the_gate_holds_it_against_production(published, winning):
    config, report = published
    checks = json.loads(version_of(config, report.version).read("verdict.json"))["checks"]
    (check,) = [check for check in checks if check["name"] == "production"]
    assert "on 48 of 48 clips" in check["detail"] and check["passed"]
    assert report.version != winning.released.version


def test_what_is_forgotten_taints_all_that_went_on_from_it(published, winning, tmp_path):
    config, report = published
    copied = winning.place(config.store, tmp_path).model_copy(update={"models": config.models})
    lineage = json.loads(version_of(copied, report.version).read("lineage.json"))
    child = version_of(copied, report.version)
    told = forget(copied, CORPUS, "clip-00", reason="asked to", dry_run=True)
    names = {holding.where for holding in told.holdings if holding.what == "release"}
    assert {f"{MODEL}@{winning.released.version}", f"{MODEL}@{child.label}"} <= names
    assert lineage["finetuned"]["release"] == f"{MODEL}@{winning.released.version}"


# --------------------------------------------------------------------------- another corpus


@pytest.fixture(scope="module")
def elsewhere(winning, release, tmp_path_factory) -> Config:
    """Return the store with a second corpus, of other sounds, in which a class is called by another name."""
    folder = tmp_path_factory.mktemp("elsewhere")
    config = winning.place(winning.config.store, folder)
    write_pairs_that_need_both(folder / "else" / "media")
    for wav in sorted((folder / "else" / "media").glob("*.wav")):
        data = bytearray(wav.read_bytes())
        data[60] ^= 1  # another recording by a hair
        wav.write_bytes(bytes(data))
    labels = folder / "else" / "labels.jsonl"
    labels.write_text(labels.read_text().replace('"who": "ax"', '"who": "az"'))
    table = json.loads((folder / "config.json").read_text())
    added = model_table(folder / "else", "whole")
    table["corpora"][OTHER] = added["corpora"][CORPUS]
    model = {**table["models"][MODEL], "corpus": OTHER, "folds": 2}
    model["train"] = {**model["train"], **SHORT}
    table["models"] = {MODEL: {**model, "finetune": {"begin_from": release}}}
    config = parse_config(table)
    ingest_corpus(config, OTHER, DT)
    extract_plan(config, plan_corpus(config, OTHER))
    return config


def test_a_release_of_other_recordings_may_be_gone_on_from_with_new_heads(elsewhere):
    trained = train_model(elsewhere, MODEL)
    notes = {note.partition(" begins")[0]: note for note in trained.notes}
    assert "new are head.bias (other classes), head.weight (other classes)" in notes["audio-mfccseg@1"]
    assert "unimodal_heads.text-ngrams@1.bias (other classes)" in notes["concat"] and "and 1 more" in notes["concat"]
    assert measure_change(elsewhere, MODEL, trained.checkpoint) == (), "it answers another question"
    found = beginning(elsewhere)
    assert {network.folder for network in found.parts} == {found.last.folder}, (
        "what the release learnt from is not here"
    )


def test_what_another_corpus_has_of_the_same_recordings_is_a_leak(winning, elsewhere, release, tmp_path):
    """The same bytes under another corpus: tracks tell what groups cannot."""
    config = winning.place(winning.config.store, tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    table["corpora"]["copy"] = table["corpora"][CORPUS]
    table["models"][MODEL] |= {"corpus": "copy", "folds": 2, "finetune": {"begin_from": release}}
    config = parse_config(table)
    ingest_corpus(config, "copy", DT)
    extract_plan(config, plan_corpus(config, "copy"))
    with pytest.raises(ConfigError, match=r"has learnt from \d+ tracks on which fold 1 of 2 would be judged"):
        train_model(config, MODEL)


def test_forgetting_in_one_corpus_taints_what_another_went_on_with(elsewhere, winning, tmp_path: Path):
    trained = train_model(elsewhere, MODEL)
    label = release_model(elsewhere, MODEL, trained.checkpoint).version
    forget(elsewhere, CORPUS, "clip-00", reason="asked to")
    layout = StoreLayout(elsewhere.store)
    assert read_taint(layout.models, MODEL, winning.released.version)
    assert read_taint(layout.models, MODEL, label), "its weights are of those that learnt from it"
    assert read_checkpoint_taint(layout.checkpoints / trained.checkpoint)
    with pytest.raises(ConfigError, match="is tainted"):
        beginning(elsewhere)
