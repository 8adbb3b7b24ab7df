"""The gate's policies in a store: too few groups, and several fused models that are judged together."""

from __future__ import annotations

import json

import pytest
from kill_models import MODEL, NUM_GROUPS

from mmpipe.config import Config, Judged
from mmpipe.errors import ConfigError, GateRefused
from mmpipe.registry.aliases import nominate, read_aliases
from mmpipe.registry.versions import Version, list_versions, pick_version
from mmpipe.steps.night.night import what_waits
from mmpipe.steps.release.evaluate import evaluate_checkpoint, is_refused
from mmpipe.steps.release.examine import examine
from mmpipe.steps.release.release import ReleaseReport, release_model, release_reason
from mmpipe.steps.train.train import train_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

TOO_MANY = {"enough_groups": NUM_GROUPS + 1, "min_groups": NUM_GROUPS + 1}


def version_of(config: Config, report: ReleaseReport, label: str = "") -> Version:
    return pick_version(config.store / "models", MODEL, label or report.version)


def test_insufficient_groups_publish_nothing_and_say_so(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path, **TOO_MANY)
    report = release_model(config, MODEL, winning.trained.checkpoint)
    assert (report.status, report.offered, report.production) == ("insufficient groups", "nothing", "")
    assert "insufficient groups: 12" in report.sentence and "gate.few_groups = 'nothing'" in report.sentence
    version = version_of(config, report)
    assert "not let through by the gate: insufficient groups" in version.read("README.md").decode()
    with pytest.raises(GateRefused, match="cannot be a candidate"):
        nominate(config.store / "models", MODEL, version.label, why="insisting")
    assert is_refused(evaluate_checkpoint(config, MODEL, winning.trained.checkpoint))  # exit 4
    assert any("insufficient groups: 12" in reason for reason in what_waits(config, "talk"))
    assert release_reason(config, MODEL) == ""


def test_the_single_modality_may_be_published_with_a_warning_and_waits_for_a_person(losing, tmp_path):
    config = losing.place(losing.before_release, tmp_path, few_groups="single", **TOO_MANY)
    report = release_model(config, MODEL, losing.trained.checkpoint)
    assert (report.status, report.offered) == ("insufficient groups", "audio-mfccseg@1")
    single = version_of(config, report, report.offered_version)
    assert (
        single.status == "candidate"
        and "Warning, insufficient groups" in json.loads(single.read("verdict.json"))["sentence"]
    )
    aliases = read_aliases(config.store / "models", MODEL)
    assert (aliases.candidate, aliases.production) == (single.label, "")
    assert release_reason(config, MODEL) == "" and len(list_versions(config.store / "models", MODEL)) == 2


def test_a_candidate_with_a_warning_waits_for_a_person(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path, few_groups="candidate-with-warning", **TOO_MANY)
    report = release_model(config, MODEL, winning.trained.checkpoint)
    assert (report.status, report.offered, report.production) == ("candidate", "concat", "")
    assert "Warning, insufficient groups" in version_of(config, report).read("README.md").decode()
    assert read_aliases(config.store / "models", MODEL).candidate == report.version


def test_fused_models_that_are_judged_together_all_have_weights_and_corrected_numbers(winning, tmp_path):
    """On one split: what is asked again is the network for the release, which never saw the test clips either."""
    config = winning.place(winning.extracted, tmp_path)
    model = config.models[MODEL].model_copy(update={"folds": 0, "fusions": ("concat", "early_weighted")})
    one = config.model_copy(update={"models": {MODEL: model}})
    checkpoint = train_model(one, MODEL).checkpoint
    gate = one.gate.model_copy(update={"judge": Judged.ALL, "enough_groups": 1})
    both = one.model_copy(update={"gate": gate})
    with pytest.raises(ConfigError, match=r"of \['.*'\] there are no weights to release. Make them: mmpipe train"):
        evaluate_checkpoint(both, MODEL, checkpoint)
    again = train_model(both, MODEL)
    assert again.checkpoint == checkpoint
    evaluation = evaluate_checkpoint(both, MODEL, checkpoint)
    assert [entry.name for entry in evaluation.verdict.tested] == ["concat", "early_weighted"]
    assert all(entry.corrected_p >= entry.p for entry in evaluation.verdict.tested)
    assert "holm" in {check.name for check in evaluation.verdict.checks}
    found = examine(both, evaluation)
    assert found.ablation and found.ablation.model == evaluation.verdict.judged
    judged = evaluation.candidates[evaluation.verdict.judged].predictions
    assert found.ablation.subsets[-1].worth.estimate == pytest.approx(judged.correct_N.mean())
    report = release_model(both, MODEL, checkpoint)
    assert version_of(both, report).read("ablation.json")
