"""Texts, from the labels table to a released version that writes about a file."""

from __future__ import annotations

import json

import pytest
from goal_store import MODEL
from kill_corpus import CORPUS, DT
from tiny_writers import save_writer

from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.texts import TextAnswers
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.examine import examine
from mmpipe.steps.release.release import release_model
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import open_training_set

SOUND = ["audio-mfccseg"]


@pytest.fixture(scope="module")
def trained(goal_store, tmp_path_factory):
    config = goal_store.copied(
        tmp_path_factory.mktemp("says"),
        goal="generate",
        target="says",
        goal_options={"beam": 2, "heads": 2},
        folds=2,
        train={"epochs": 40, "learning_rate": 0.01},
    )
    return config, train_model(config, MODEL)


def test_a_sentence_needs_both_modalities_and_the_gate_sees_it(trained):
    config, made = trained
    assert made.measure == "word accuracy"
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    worth = {standing.name: standing.worth.estimate for standing in found.verdict.standings}
    assert worth["concat"] > 0.9 > worth["audio-mfccseg@1"] > 0.6
    assert worth["concat"] > worth["text-ngrams@1"] > 0.6
    assert found.verdict.gain.worth.low > 0
    assert found.verdict.status == "candidate", found.verdict.sentence
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, TextAnswers)
    assert set(answers.texts_N) == {"low and warm", "low and cold", "high and warm", "high and cold"}


def test_what_modalities_bring_is_told_in_the_same_measure(trained):
    config, made = trained
    found = examine(config, evaluate_checkpoint(config, MODEL, made.checkpoint))
    assert {"word_error_rate", "character_error_rate", "exact", "substitutions"} <= found.figures.measures.keys()
    assert found.ablation
    none = next(row for row in found.ablation.subsets if not row.kept)
    assert none.worth.estimate < 0.8
    assert found.robustness.measure == "word accuracy"


def test_the_released_version_writes_about_a_file(trained, goal_store):
    config, made = trained
    report = release_model(config, MODEL, made.checkpoint)
    assert not list((config.store / "checkpoints" / made.checkpoint).rglob("model.pt2"))
    version = pick_version(config.store / "models", MODEL, report.version)
    card = version.read("README.md").decode()
    assert "Writes says with 5 words" in card
    assert json.loads(version.read("config.json"))["spec"]["goal"] == "generate"
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL).answers
    assert answer.said["text"].split()[:2] == ["high", "and"]
    page = write_report(config, CORPUS, DT, MODEL, made.checkpoint).read_text("utf-8")
    assert "word accuracy" in page


def test_a_trained_model_is_not_trained_again(trained):
    config, made = trained
    assert train_model(config, MODEL).num_fits == 0 < made.num_fits


@pytest.mark.slow
def test_a_model_of_transformers_writes_with_its_own_tokens(goal_store, tmp_path):
    folder = save_writer(tmp_path / "t5", "t5")
    config = goal_store.copied(
        tmp_path,
        goal="generate",
        target="says",
        inputs=SOUND,
        fusions=[],
        folds=2,
        goal_options={"model": str(folder), "frozen": False},
        train={"epochs": 30, "learning_rate": 0.01},
    )
    made = train_model(config, MODEL)
    answers = evaluate_checkpoint(config, MODEL, made.checkpoint).candidates["audio-mfccseg@1"].predictions
    assert isinstance(answers, TextAnswers)
    assert answers.worth > answers.constant().worth  # what is said of the sound; the other word it cannot know
    release_model(config, MODEL, made.checkpoint)
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL).answers
    assert answer.said["text"]
    save_writer(folder, "t5", seed=1)
    with pytest.raises(ConfigError, match="another model now"):
        predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL)


def test_the_clips_own_text_is_a_target_where_the_table_has_no_such_column(goal_store):
    config = goal_store.config(goal="generate", target="text", inputs=SOUND, fusions=[])
    data = open_training_set(config, config.models[MODEL])
    assert data.classes[0] == "<end>" and {"warm", "cold", "room"} <= set(data.classes)
    assert all(text.endswith(" room") for text in data.told)


def test_a_text_that_reads_what_is_to_be_written_is_a_leak(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="generate", target="text")
    with pytest.raises(ConfigError, match="leak"):
        train_model(config, MODEL)


def test_characters_are_written_too(goal_store):
    config = goal_store.config(goal="generate", target="says", goal_options={"unit": "character"})
    data = open_training_set(config, config.models[MODEL])
    assert data.classes == ("<end of characters>", " ", *sorted(set("low high and warm cold") - {" "}))
    answers = data.answers(range(3), data.targets_N[:3])
    assert isinstance(answers, TextAnswers) and answers.worth == 1


def test_labels_that_a_models_tokenizer_cannot_write_are_refused(goal_store, tmp_path):
    folder = save_writer(tmp_path / "t5", "t5")
    config = goal_store.config(goal="generate", target="who", goal_options={"model": str(folder)})
    with pytest.raises(ConfigError, match="cannot write 64 of 64 texts of 'who'"):
        open_training_set(config, config.models[MODEL])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal_options": {"unit": "syllable"}}, "goal_options of the goal 'generate'.*unit"),
        ({"goal_options": {"beam": 0}}, "beam"),
        ({"goal_options": {"frozen": False}}, "frozen: of a model, and no `model` is set"),
        ({"goal_options": {"model": "./t5", "unit": "character"}}, "unit: of the small decoder, and `model` is set"),
        ({"head": "sigmoid"}, "is for goal = 'classify'"),
    ],
)
def test_settings_that_cannot_be_are_refused(goal_store, changes, message):
    with pytest.raises(ConfigError, match=message):
        goal_store.config(goal="generate", target="says", **changes)


def test_a_fusion_that_mixes_class_scores_is_refused(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="generate", target="says", fusions=["late_weighted"])
    with pytest.raises(ConfigError, match=r"late_weighted.*cannot do for goal = 'generate'"):
        train_model(config, MODEL)
