"""Labels, users and anomalies, from the labels table to a released version that answers for a file."""

from __future__ import annotations

import numpy as np
import pytest
from goal_store import MODEL

from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.anomalies import AnomalyAnswers
from mmpipe.evaluate.answers.labels import LabelAnswers
from mmpipe.evaluate.answers.scores import ScoreAnswers
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.examine import examine
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import open_training_set


def worths(found) -> dict[str, float]:
    return {standing.name: standing.worth.estimate for standing in found.verdict.standings}


def released(config, made) -> tuple[str, str]:
    report = release_model(config, MODEL, made.checkpoint)
    return report.status, pick_version(config.store / "models", MODEL, report.version).read("README.md").decode()


def test_labels_of_two_modalities_need_both(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="multilabel", target="kinds")
    made = train_model(config, MODEL)
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, LabelAnswers) and answers.classes == ("cold", "high", "low", "warm")
    assert worths(found)["concat"] > 0.95 > worths(found)["audio-mfccseg@1"]
    assert found.verdict.measure == "F1 of a clip's labels" and found.verdict.status == "candidate"
    figures = examine(config, found).figures
    assert {"exact_match", "hamming_loss", "micro_f1", "macro_f1", "auroc"} <= figures.measures.keys()
    assert set(figures.per_class) == {"cold", "high", "low", "warm"}
    status, card = released(config, made)
    assert status == "candidate" and "Gives any of 4 labels of kinds" in card
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL).answers
    assert "high" in answer.said["labels"] and answer.said["probabilities"]["low"] < 0.5


def test_users_find_what_they_like_at_the_top_of_their_lists(goal_store, tmp_path):
    config = goal_store.copied(tmp_path, goal="rank", target="likes")
    made = train_model(config, MODEL)
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, ScoreAnswers) and answers.classes == ("all", "lo", "wa")
    assert worths(found)["concat"] > 0.95 > worths(found)["audio-mfccseg@1"]
    assert len(np.unique(answers.lists_N)) == 4, "a list is of one fold"
    figures = examine(config, found).figures
    assert {"auc", "ndcg@1", "ndcg@5", "ndcg@10", "hit_rate@1", "hit_rate@10"} <= figures.measures.keys()
    status, card = released(config, made)
    assert status == "candidate" and "3 users of likes" in card
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-04.wav"], MODEL).answers
    assert answer.said["scores"]["lo"] > answer.said["scores"]["wa"] or "lo" in answer.said["users"]


def test_what_was_never_normal_is_strange(goal_store, tmp_path):
    """Each sound and each caption is normal alone; a high sound with a cold caption is not."""
    config = goal_store.copied(
        tmp_path,
        goal="anomaly",
        target="health",
        goal_options={"bottleneck": 2},
        train={"epochs": 120, "patience_epochs": 120},
    )
    data = open_training_set(config, config.models[MODEL])
    assert not data.targets_N[data.taught(np.arange(len(data.keys)))].any(), "networks are shown normal clips alone"
    made = train_model(config, MODEL)
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    answers = found.candidates["concat"].predictions
    assert isinstance(answers, AnomalyAnswers) and answers.anomalous_N.sum() == 16
    assert worths(found)["concat"] > 0.8, worths(found)
    assert max(worths(found)["audio-mfccseg@1"], worths(found)["text-ngrams@1"]) < worths(found)["concat"]
    assert any("control" in reason for reason in found.verdict.not_checked)
    assert {"auroc", "auprc", "tpr_at_fpr_5%"} <= examine(config, found).figures.measures.keys()
    _, card = released(config, made)
    assert "how unlike the normal clips of health" in card
    (answer,) = predict_files(config, [goal_store.folder / "media" / "clip-03.wav"], MODEL).answers
    assert answer.said["strangeness"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal": "multilabel", "target": "kinds", "goal_options": {"none": "x", "separator": "nothing"}}, ""),
        ({"goal": "multilabel", "target": "room", "goal_options": {"separator": "-"}}, ""),
        ({"goal": "anomaly", "target": "health", "goal_options": {"normal": "fine"}}, "all 64 clips are anomalous"),
        ({"goal": "rank", "target": "nobody"}, "none of 64 clips has a value for the target 'nobody'"),
    ],
)
def test_targets_that_tell_nothing_apart_are_refused(goal_store, changes, message):
    config = goal_store.config(**changes)
    if not message:
        assert open_training_set(config, config.models[MODEL]).classes
        return
    with pytest.raises(ConfigError, match=message):
        open_training_set(config, config.models[MODEL])
