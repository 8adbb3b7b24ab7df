"""Several answers of one network, learnt together."""

from __future__ import annotations

import json

import pytest
from goal_store import MODEL

from mmpipe.errors import ConfigError
from mmpipe.registry.versions import pick_version
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model

ALSO = {
    "height": {"goal": "regress", "target": "height", "weight": 0.5},
    "kinds": {"goal": "multilabel", "target": "kinds"},
}


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_one_network_gives_all_answers_and_the_gate_judges_its_own(goal_store, tmp_path, weighting):
    config = goal_store.copied(tmp_path, target="who", also=ALSO, weighting=weighting, folds=0)
    made = train_model(config, MODEL)
    assert made.measure == "accuracy"
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    also = found.also["concat"]
    assert {name: one.measure for name, one in also.items()} == {"height": "R2", "kinds": "F1 of a clip's labels"}
    assert also["height"].worth > 0.8 and also["kinds"].worth > 0.8
    assert found.candidates["concat"].predictions.worth > 0.8
    version = pick_version(config.store / "models", MODEL, release_model(config, MODEL, made.checkpoint).version)
    told = json.loads(version.read("metrics.json"))["also"]
    assert told["concat"]["height"]["measure"] == "R2" and told["concat"]["height"]["clips"] > 0
    assert "height: R2" in version.read("README.md").decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"also": {"x": {"goal": "rank", "target": "likes"}}}, "cannot be learnt beside another"),
        ({"also": ALSO, "goal": "rank", "target": "likes"}, "`also` goes with a goal among"),
        ({"also": ALSO, "train": {"mixup_alpha": 0.2}}, "train.mixup_alpha is for a single answer"),
    ],
)
def test_what_does_not_go_together_is_refused(goal_store, changes, message):
    with pytest.raises(ConfigError, match=message):
        goal_store.config(**{"target": "who", **changes})
