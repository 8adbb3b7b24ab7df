"""Numbers, from the labels table to a released version that answers for a file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from goal_store import MODEL
from kill_corpus import CORPUS, DT

from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.numbers import NumberAnswers
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.examine import examine
from mmpipe.steps.release.release import release_model
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import open_training_set


@pytest.fixture(scope="module")
def trained(goal_store, tmp_path_factory):
    config = goal_store.copied(tmp_path_factory.mktemp("sum"), goal="regress", target="sum")
    return config, train_model(config, MODEL)


def test_a_sum_needs_both_modalities_and_the_gate_sees_it(trained):
    config, made = trained
    assert made.measure == "R2" and list(made.table()[0])[2] == "validation R2"
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    worth = {standing.name: standing.worth.estimate for standing in found.verdict.standings}
    assert worth["concat"] > 0.95 > 0.9 > worth["audio-mfccseg@1"] > 0.5 > worth["text-ngrams@1"]
    assert found.verdict.measure == "R2" and found.verdict.gain.worth.low > 0.05
    assert found.verdict.status == "candidate", found.verdict.sentence
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, NumberAnswers) and not answers.is_sure
    truth, said = answers.truth_NQ[:, 0], answers.mean_NQ[:, 0]
    assert found.verdict.standings[-1].worth.estimate == pytest.approx(1 - ((said - truth) ** 2).mean() / truth.var())
    assert any(reason.startswith("calibration:") for reason in found.verdict.not_checked)


def test_what_modalities_bring_is_told_in_the_same_measure(trained):
    config, made = trained
    found = examine(config, evaluate_checkpoint(config, MODEL, made.checkpoint))
    assert found.ablation and found.ablation.weak and "of R2" in found.ablation.weak.sentence
    by_name = {share.modality: share.shapley.estimate for share in found.ablation.shares}
    assert by_name["audio-mfccseg@1"] > by_name["text-ngrams@1"] > 0
    none = next(row for row in found.ablation.subsets if not row.kept)
    assert none.worth.estimate == pytest.approx(0, abs=0.05)  # the mean of what it learnt from
    assert {"mae", "rmse", "pearson", "r2"} <= found.figures.measures.keys()
    assert found.robustness.measure == "R2" and found.robustness.noise


def test_the_released_version_says_a_number_of_a_file(trained, goal_store, tmp_path):
    config, made = trained
    report = release_model(config, MODEL, made.checkpoint)
    version = pick_version(config.store / "models", MODEL, report.version)
    card = version.read("README.md").decode()
    assert "Estimates sum for a clip" in card and "| R2 |" in card and "Quantities, in the order" in card
    spec = json.loads(version.read("config.json"))["spec"]
    assert spec["goal"] == "regress" and spec["classes"] == ["sum"]
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL).answers
    assert answer.said["sum"] == pytest.approx(14, abs=2.5)
    page = write_report(config, CORPUS, DT, MODEL, made.checkpoint).read_text("utf-8")
    assert ">R2<" in page and "Macro F1" not in page


@pytest.mark.parametrize("likelihood", ["diagonal", "full"])
def test_a_network_may_say_how_sure_it_is(goal_store, tmp_path, likelihood):
    options = {"also": ["height"], "likelihood": likelihood}
    config = goal_store.copied(tmp_path, goal="regress", target="sum", goal_options=options, folds=2)
    made = train_model(config, MODEL)
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, NumberAnswers) and answers.is_sure and answers.classes == ("sum", "height")
    assert np.linalg.eigvalsh(answers.covariance_NQQ).min() > 0
    off_diagonal = answers.covariance_NQQ[:, 0, 1]
    assert np.abs(off_diagonal).max() > 0 if likelihood == "full" else not off_diagonal.any()
    figures = examine(config, found).figures
    assert "joint_nll" in figures.measures and 0 <= figures.measures["coverage_90"].estimate <= 1
    assert set(figures.per_class) == {"sum", "height"}
    version = pick_version(config.store / "models", MODEL, release_model(config, MODEL, made.checkpoint).version)
    assert json.loads(version.read("config.json"))["spec"]["goal_options"]["likelihood"] == likelihood


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "who"}, "must be a number, got 'ax'"),
        ({"target": "sum", "goal_options": {"also": ["sum"]}}, "must differ"),
        ({"target": "nothing"}, "none of 64 clips has a value"),
    ],
)
def test_targets_that_are_no_numbers_are_refused_before_training(goal_store, changes, message):
    config = goal_store.config(goal="regress", **changes)
    with pytest.raises(ConfigError, match=message):
        open_training_set(config, config.models[MODEL])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal_options": {"likelyhood": "full"}}, "goal_options of the goal 'regress'.*likelihood"),
        ({"head": "sigmoid"}, "is for goal = 'classify'"),
        ({"train": {"class_balance": "weights"}}, "train.class_balance is for goal = 'classify'"),
        ({"train": {"label_smoothing": 0.1}}, "train.label_smoothing"),
    ],
)
def test_settings_that_speak_of_classes_are_refused(goal_store, changes, message):
    with pytest.raises(ConfigError, match=message):
        goal_store.config(goal="regress", target="sum", **changes)


def test_a_fusion_that_mixes_class_scores_is_refused(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="regress", target="sum", fusions=["late_weighted"])
    with pytest.raises(ConfigError, match=r"late_weighted.*cannot do for goal = 'regress'"):
        train_model(config, MODEL)


def test_a_mean_of_modalities_answers_may_answer(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="regress", target="sum", fusions=["late_logits"], folds=0)
    made = train_model(config, MODEL)
    assert all(math.isfinite(score.test_score) for score in made.scores)
