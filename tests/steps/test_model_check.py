"""Faults of a model's settings are found before a night has done anything, and where that can be without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus_maker import CORPUS, make_config

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.fusion.option_names import option_names
from mmpipe.fusion.registry import fusion_class, fusion_names
from mmpipe.steps.night.night import run_night, what_is_due
from mmpipe.steps.plan.model_names import check_model_names
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.tell.doctor import examine
from mmpipe.steps.train.model_check import check_networks

MODEL = {"corpus": CORPUS, "target": "word", "inputs": ["audio-mfccseg", "text-ngrams"], "fusions": ["concat"]}


def config_of(folder: Path, **model: Any) -> Config:
    return make_config(folder, {"m": {**MODEL, **model}})


@pytest.mark.parametrize("name", fusion_names())
def test_the_options_of_every_fusion_are_read_as_its_class_has_them(name):
    if name.startswith("test_"):
        pytest.skip("of another test")
    assert option_names(name) == frozenset(fusion_class(name).Options.model_fields)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"fusions": ["concatt"]},
            r"models\.m\.fusions: no fusion named 'concatt'; valid names are: bottleneck, concat,",
        ),
        (
            {"fusions": ["lmf"], "fusion_options": {"lmf": {"ranks": 3}}},
            r"models\.m\.fusion_options\.lmf\.ranks: lmf has no such option; it takes: rank\. See: mmpipe fusions lmf",
        ),
        (
            {"fusion_options": {"concat": {"depth": 3}}},
            r"models\.m\.fusion_options\.concat\.depth: concat has no such option; it takes none",
        ),
    ],
)
def test_a_wrong_name_is_found_by_plan_and_night(tmp_path, model, told):
    (tmp_path / "media").mkdir()
    config = config_of(tmp_path, **model)
    for ask in (
        lambda: check_model_names(config),
        lambda: plan_corpus(config, CORPUS),
        lambda: what_is_due(config, CORPUS, "2026-11-20"),
        lambda: run_night(config, CORPUS, "2026-11-20"),
        lambda: check_networks(config, "m"),
    ):
        with pytest.raises(ConfigError, match=told):
            ask()
    check_model_names(config, "another")  # its models are no business of this one


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"fusions": ["lmf"], "fusion_options": {"lmf": {"rank": 0}}},
            r"(?s)models\.m, contender lmf: .*rank = 0: .* greater than or equal to 1",
        ),
        (
            {"encoder": {"kind": "identity", "width": 7}},
            r"models\.m, contender audio-mfccseg@1: encoder\.kind = 'identity' hands on \d+ numbers",
        ),
        (
            {"encoders": {"text-ngrams": {"backbone": {"kind": "bert"}}}},
            r"models\.m, contender text-ngrams@1: text-ngrams@1 has 512 numbers a step, and bert reads token ids",
        ),
        (
            {"encoders": {"text-ngrams": {"backbone": {"kind": "small_cnn"}}}},
            r"text-ngrams@1 has 512 numbers a picture, no square: set picture_shape",
        ),
        (
            {"encoders": {"text-ngrams": {"backbone": {"kind": "resnet50", "weights": "/no/such.safetensors"}}}},
            r"models\.m, contender text-ngrams@1: .*/no/such\.safetensors",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_found_without_data(tmp_path, model, told):
    with pytest.raises(ConfigError, match=told):
        check_networks(config_of(tmp_path, **model), "m")


def test_weights_that_a_training_may_fetch_are_not_asked_for(tmp_path):
    bert = {"kind": "bert", "weights": "nobody/none", "revision": "0" * 40}
    tokens = {"inputs": ["audio-mfccseg", "text-ngrams"], "encoders": {"text-ngrams": {"backbone": bert}}}
    with pytest.raises(ConfigError, match=r"models\.m, contender text-ngrams@1: .*nobody/none"):
        check_networks(config_of(tmp_path, **tokens), "m")
    bert["offline"] = False
    assert check_networks(config_of(tmp_path, **tokens), "m") == ("audio-mfccseg@1",)


def test_networks_that_can_be_built_are_named(tmp_path):
    fusions = [name for name in fusion_names() if name != "unimodal" and not name.startswith("test_")]
    config = config_of(tmp_path, fusions=fusions, encoder={"width": 8, "components": 8})
    assert check_networks(config, "m") == ("audio-mfccseg@1", "text-ngrams@1", *fusions)
    assert not (tmp_path / "store").exists()


def test_the_doctor_says_it(tmp_path):
    (tmp_path / "media").mkdir()
    table = {"store": "store", "corpora": {CORPUS: {"root": "media", "features": ["audio-mfccseg", "text-ngrams"]}}}
    path = tmp_path / "mmpipe.toml"
    for model, state, told in (
        (MODEL, "ok", "3 networks of 1 model can be built"),
        ({**MODEL, "fusions": ["nope"]}, "wrong", "models.m.fusions: no fusion named 'nope'"),
    ):
        path.write_text(as_toml(table | {"models": {"m": model}}))
        row = next(row for row in examine(path) if row["check"] == "models")
        assert (row["state"], told in row["detail"]) == (state, True), row
    row = next(row for row in examine(path) if row["check"] == "release")
    assert row["state"] == "ok" and row["detail"].endswith("; not signed")


def test_names_are_checked_without_torch(tmp_path):
    table = config_of(tmp_path, fusions=["lmf"], fusion_options={"lmf": {"rank": 3}}).model_dump(mode="json")
    code = (
        "import json, sys\n"
        "from mmpipe.config import parse_config\n"
        "from mmpipe.steps.plan.model_names import check_model_names\n"
        "check_model_names(parse_config(json.loads(sys.argv[1])))\n"
        "print('torch' in sys.modules)"
    )
    models = json.dumps({"models": table["models"], "corpora": {CORPUS: {"root": "media"}}})
    done = subprocess.run([sys.executable, "-c", code, models], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert parse_config(json.loads(models)).models["m"].fusions == ("lmf",)


def as_toml(table: dict[str, Any], place: str = "") -> str:
    """Return a table as TOML: JSON's scalars and lists are TOML's too."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    below = [as_toml(value, f"{place}{key}.") for key, value in table.items() if isinstance(value, dict)]
    return "\n".join([f"[{place.rstrip('.')}]" if place else "", *plain, *below, ""])
