"""`train.impute` from the config to a version: what it says of the imputer, and that its network has it."""

from __future__ import annotations

import json

import pytest
from kill_models import MODEL

from mmpipe.config import Config, EncoderConfig, Imputation
from mmpipe.errors import ConfigError
from mmpipe.registry.versions import Version, pick_version
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.imputing import REPORT_NAME, imputation_limits
from mmpipe.steps.train.train import train_model
from mmpipe.train.weights import load_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


def imputed_by(config: Config, method: Imputation, **changes) -> Config:
    model = config.models[MODEL]
    train = model.train.model_copy(update={"impute": method, "epochs": 4})
    return config.model_copy(update={"models": {MODEL: model.model_copy(update={"train": train, **changes})}})


def released(config: Config) -> Version:
    report = release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    return pick_version(config.store / "models", MODEL, report.version)


def test_a_version_has_its_imputer_and_says_how_good_it_is(winning, tmp_path):
    version = released(imputed_by(winning.place(winning.extracted, tmp_path), Imputation.MEAN, folds=0))
    found = json.loads(version.read("metrics.json"))["imputation"]
    assert found["kept"] and found["wanted"] == "mean" and found["num_groups"] > 0
    assert json.loads(version.read(REPORT_NAME)) == found
    assert f"A missing modality of a clip and its imputer: {found['reason']}." in version.read("README.md").decode()
    model = load_model(version.path)
    assert model.imputer is not None and model.spec.imputer.method is Imputation.MEAN
    assert json.loads(version.read("config.json"))["spec"]["imputer"] == {"method": "mean", "sizes": {}}


def test_one_that_is_not_shown_to_be_better_is_switched_off_and_the_version_says_so(winning, tmp_path):
    """Sounds and words are drawn apart there: neither tells of the other."""
    version = released(imputed_by(winning.place(winning.extracted, tmp_path), Imputation.KNN, folds=0))
    found = json.loads(version.read("metrics.json"))["imputation"]
    assert not found["kept"] and found["reason"].startswith("knn is switched off: ")
    assert "A missing modality is left out, as without it." in version.read("README.md").decode()
    assert load_model(version.path).imputer is None
    assert "imputer" not in json.loads(version.read("config.json"))["spec"]


def test_a_card_says_where_clips_are_kept_as_they_are(tmp_path):
    for method, sentences in ((Imputation.RIDGE, 1), (Imputation.KNN, 2)):
        table = {"wanted": method.value, "kept": True, "reason": f"{method} is used"}
        (tmp_path / REPORT_NAME).write_text(json.dumps(table))
        limits = imputation_limits(tmp_path)
        assert len(limits) == sentences and limits[0].endswith(f"{method} is used.")
    assert "holds preprocessed numbers of training clips as they are" in limits[1]


def test_without_it_nothing_is_said(winning):
    version = pick_version(winning.config.store / "models", MODEL, winning.released.version)
    assert "imputation" not in json.loads(version.read("metrics.json"))
    assert REPORT_NAME not in version.files() and "imputer" not in version.read("README.md").decode()


def test_inputs_that_cannot_be_imputed_are_refused_before_anything_is_trained(winning, tmp_path):
    config = imputed_by(winning.place(winning.extracted, tmp_path), Imputation.RIDGE)
    encoder = EncoderConfig(components=8, width=8, steps=3, kind="gru")
    model = config.models[MODEL].model_copy(update={"encoder": encoder, "inputs": ("audio-logmel", "text-ngrams")})
    source = config.corpora[model.corpus]
    source = source.model_copy(update={"features": (*source.features, "audio-logmel")})
    config = config.model_copy(update={"models": {MODEL: model}, "corpora": {model.corpus: source}})
    extract_plan(config, plan_corpus(config, model.corpus))
    with pytest.raises(ConfigError, match="audio-logmel@1 has steps"):
        train_model(config, MODEL)
    assert not list((config.store / "checkpoints").glob("*/fits"))
