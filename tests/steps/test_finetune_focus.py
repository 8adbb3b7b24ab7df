"""Bettering the weak modality of a release: everything else stays, and the gate judges what comes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from kill_models import MODEL, NUM_GROUPS

from mmpipe.cli import main
from mmpipe.config import Config, Focus
from mmpipe.errors import ConfigError
from mmpipe.registry.versions import Version, pick_version
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.candidates import list_contenders
from mmpipe.steps.train.finetune import Beginnings, find_beginning
from mmpipe.steps.train.finetune_change import measure_change
from mmpipe.steps.train.finetune_focus import focus_model, freeze_but, read_verdict
from mmpipe.steps.train.train import current_recipe, newest_checkpoint, train_model
from mmpipe.steps.train.training_set import open_training_set
from mmpipe.store.layout import StoreLayout
from mmpipe.train.weights import load_model

if TYPE_CHECKING:
    from kill_fixtures import TrainedStore

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")
WORDS, SOUND = "text-ngrams@1", "audio-mfccseg@1"


def with_finetune(config: Config, **changes: Any) -> Config:
    model = config.models[MODEL]
    table = model.finetune.model_dump() | changes
    finetune = type(model.finetune)(**table)
    return config.model_copy(update={"models": {MODEL: model.model_copy(update={"finetune": finetune})}})


def version_of(config: Config, label: str) -> Version:
    return pick_version(StoreLayout(config.store).models, MODEL, label)


@pytest.fixture(scope="module")
def focused(losing: TrainedStore, tmp_path_factory: pytest.TempPathFactory):
    """Return a store whose words say nothing, with the training that is to better them."""
    config = losing.place(losing.config.store, tmp_path_factory.mktemp("focused"))
    found = focus_model(config, MODEL)
    assert found.config is not None
    return found, train_model(found.config, MODEL)


def test_the_verdict_of_the_fused_model_counts_also_where_a_single_one_is_in_production(losing, focused):
    found, _ = focused
    assert found.release == f"{MODEL}@{losing.released.version}" != f"{MODEL}@{losing.released.production}"
    assert found.modality == WORDS
    assert f"{WORDS} is the weak modality" in found.sentence
    assert (
        focus_model(with_finetune(losing.config, begin_from=f"release:{found.release}"), MODEL).release == found.release
    )


def test_only_what_encodes_the_weak_modality_learns(focused):
    found, trained = focused
    model = found.config.models[MODEL]
    beginning = find_beginning(found.config, model, open_training_set(found.config, model))
    folder = StoreLayout(found.config.store).checkpoints / trained.checkpoint
    pairs = [(beginning.last.folder, folder / "release" / "concat")]
    pairs += [
        (place.folder, folder / "fits" / "concat" / f"part-{n}-seed-0" / "weights")
        for n, place in enumerate(beginning.parts)
    ]
    for before, after in pairs:
        old, new = load_model(before).state_dict(), load_model(after).state_dict()
        moved = {name for name in old if not torch.equal(old[name], new[name])}
        assert moved and all(name.startswith((f"encoders.{WORDS}", f"unimodal_heads.{WORDS}")) for name in moved)


def test_single_inputs_are_as_they_were_and_so_is_the_bar_that_the_gate_sets(losing, focused):
    """A frozen network of one input would be a bar that is easily cleared."""
    _, trained = focused
    scores = {score.name: score for score in losing.trained.scores}
    assert [score.name for score in trained.scores] == [SOUND, WORDS, "concat"]
    assert [score for score in trained.scores if not score.fused] == [scores[SOUND], scores[WORDS]]
    assert [note.partition(" begins")[0] for note in trained.notes][:1] == ["concat"]


def test_the_change_of_the_model_and_of_the_weak_modality_alone_is_told_with_its_interval(focused):
    found, trained = focused
    changes = {change.what: change for change in measure_change(found.config, MODEL, trained.checkpoint)}
    assert set(changes) == {"concat", f"concat with {WORDS} alone", f"concat with {SOUND} alone"}
    assert changes[f"concat with {SOUND} alone"].change.estimate == 0.0, "nothing of it was touched"
    for change in changes.values():
        assert change.change.num_groups == NUM_GROUPS
        assert change.change.low <= change.after - change.before <= change.change.high
    release = version_of(found.config, found.release.partition("@")[2])
    ablation = json.loads(release.read("ablation.json"))
    only = {share["modality"]: share["only"]["estimate"] for share in ablation["shares"]}
    assert changes[f"concat with {WORDS} alone"].before == pytest.approx(only[WORDS])


def test_what_comes_of_it_is_a_version_of_its_own_that_the_gate_judges(losing, focused, tmp_path):
    found, trained = focused
    config = losing.place(found.config.store, tmp_path).model_copy(update={"models": found.config.models})
    production = losing.released.production
    report = release_model(config, MODEL, trained.checkpoint)
    assert report.status == "refused", "the words say nothing, however well they are encoded"
    assert report.version not in (losing.released.version, production)
    verdict = json.loads(version_of(config, report.version).read("verdict.json"))
    checks = {check["name"]: check for check in verdict["checks"]}
    assert "production" in checks and "on 48 of 48 clips" in checks["production"]["detail"]
    begun = json.loads(version_of(config, report.version).read("lineage.json"))["finetuned"]
    assert begun["settings"]["focus"] == "weak" and begun["settings"]["freeze"]
    assert "finetuned" not in json.loads(version_of(config, report.offered_version).read("lineage.json"))
    plain = config.model_copy(update={"models": losing.config.models})
    assert newest_checkpoint(plain, MODEL) == losing.trained.checkpoint, "the config as it was asks for nothing new"


def test_evaluating_needs_the_same_focus(losing, focused):
    found, trained = focused
    assert newest_checkpoint(found.config, MODEL) == trained.checkpoint
    assert evaluate_checkpoint(found.config, MODEL, trained.checkpoint).verdict.judged == "concat"
    assert current_recipe(losing.config, MODEL) != current_recipe(found.config, MODEL)


def test_where_no_modality_is_clearly_weak_nothing_is_done(winning):
    found = focus_model(winning.config, MODEL)
    assert found.config is None and found.modality == ""
    assert f"{MODEL}@{winning.released.version}: No modality is clearly the weakest." in found.sentence
    release = f"release:{MODEL}@{winning.released.version}"
    config = with_finetune(winning.config, begin_from=release, focus=Focus.WEAK)
    with pytest.raises(ConfigError, match=r"focus = 'weak', and who@1-.* names no weak modality: No modality"):
        train_model(config, MODEL)


def test_a_single_modality_that_is_offered_has_no_verdict(losing):
    single = version_of(losing.config, losing.released.offered_version)
    verdict = read_verdict(single)
    assert verdict.modality == "" and "was not measured" in verdict.sentence
    said = focus_model(with_finetune(losing.config, begin_from=f"release:{MODEL}@{single.label}"), MODEL)
    assert said.config is None


def test_without_a_version_there_is_nothing_to_better(losing, tmp_path):
    config = losing.place(losing.before_release, tmp_path)
    with pytest.raises(ConfigError, match="has no version whose weak modality could be bettered"):
        focus_model(config, MODEL)


def test_a_weak_modality_that_is_read_no_more_is_refused(losing):
    model = losing.config.models[MODEL].model_copy(update={"inputs": ("audio-mfccseg",)})
    with pytest.raises(ConfigError, match=r"is text-ngrams@1, and `inputs` are \['audio-mfccseg'\] now"):
        focus_model(losing.config.model_copy(update={"models": {MODEL: model}}), MODEL)


def test_what_is_frozen_can_be_thawed_later_by_the_config(losing, focused):
    found, _ = focused
    config = with_finetune(losing.config, begin_from=f"release:{found.release}", focus="weak", unfreeze={"fusion": 3})
    table = freeze_but(WORDS, config.models[MODEL])
    assert table.freeze == ("encoders.audio-mfccseg", "unimodal_heads.audio-mfccseg", "fusion", "head")
    assert table.unfreeze == {"fusion": 3}
    assert focus_model(config, MODEL).config.models[MODEL].finetune.unfreeze == {"fusion": 3}


def test_it_is_typed_as_one_word(losing, focused, capfd, tmp_path):
    found, trained = focused
    config = losing.place(found.config.store, tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    assert config.models[MODEL].fusions == ("concat",)
    (tmp_path / "mmpipe.toml").write_text("".join(f"{key} = {_toml(value)}\n" for key, value in table.items()))
    with pytest.raises(SystemExit) as end:
        main(["train", "--focus", "weak", "--config", str(tmp_path / "mmpipe.toml")])
    told = capfd.readouterr()
    assert end.value.code == 0
    assert f"{WORDS} is the weak modality" in " ".join(told.err.split())
    assert f"concat with {WORDS} alone" in told.out and trained.checkpoint in told.out
    assert "mmpipe publish --focus weak" in " ".join(told.out.split())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def test_other_fusions_of_the_config_start_afresh_and_compete(losing, focused):
    found, _ = focused
    config = with_finetune(losing.config, begin_from=f"release:{found.release}", focus="weak")
    model = config.models[MODEL].model_copy(update={"fusions": ("concat", "gmu")})
    data = open_training_set(config, model)
    beginnings = Beginnings(model, find_beginning(config, model, data))
    going_on = {c.name: beginnings.of_part(c, 0) is not None for c in list_contenders(model, data.schemas)}
    assert going_on == {SOUND: False, WORDS: False, "concat": True, "gmu": False}
