"""A feature under a name of its own: made, learnt from and asked like any other; the way out of a frozen shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from corpus_maker import CORPUS, DT, TEXT, extract, ingest, make_config, write_pairs
from kill_models import MODEL, model_table, write_pairs_that_need_both

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.night.night import what_is_due
from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.steps.release.release import release_model
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.train.train import train_model
from mmpipe.store.identity import read_identity
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")
OWN = {"extractor": "text-ngrams", "dim": 64}


def with_features(config: Config, names: list[str], **tables: dict) -> Config:
    source = config.corpora[CORPUS].model_copy(update={"features": tuple(names)})
    return config.model_copy(update={"features": tables, "corpora": {CORPUS: source}})


def test_a_changed_shape_is_refused_by_the_plan_and_made_under_a_name_of_its_own(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b"])
    config = make_config(tmp_path, features=["text-ngrams"])
    ingest(config)
    extract(config)
    changed = with_features(config, ["text-ngrams"], **{"text-ngrams": {"dim": 64}})
    for ask in (lambda: plan_corpus(changed, CORPUS), lambda: what_is_due(changed, CORPUS, DT)):
        with pytest.raises(
            ConfigError, match=r'text-ngrams@1 gives .*\[features.text-ngrams-2\] with extractor = "text'
        ):
            ask()
    assert {state.state for state in read_states(changed, CORPUS)} == {State.STALE}

    config = with_features(config, ["text-ngrams", "words64"], words64=OWN)
    plan = plan_corpus(config, CORPUS)
    assert [due.features for due in plan.shards] == [("words64@1",)]
    assert plan_corpus(config, CORPUS, features=["words64"]) == plan
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty
    layout = StoreLayout(config.store)
    reader = open_corpus(config.store / CORPUS, ["words64@1", TEXT])
    batch = reader.gather([0, 1])
    assert [batch.features[name].x_BTD.shape[2] for name in ("words64@1", TEXT)] == [64, 512]
    assert "words64" in (layout.dataset(CORPUS, "words64@1").root / "README.md").read_text("utf-8")
    (mark,) = (layout.dataset(CORPUS, "words64@1").root / "_meta" / "fingerprints").iterdir()
    identity = read_identity(layout.dataset(CORPUS, "words64@1"), mark.stem)
    assert identity and (identity.extractor, identity.params["dim"]) == ("text-ngrams", 64)
    assert verify_store(layout) == ()


def test_a_model_learns_from_it_and_answers_with_it(tmp_path: Path) -> None:
    write_pairs_that_need_both(tmp_path / "media")
    table = model_table(tmp_path, "whole", shuffled_control=False)
    table["features"] = {"words64": OWN}
    table["models"][MODEL] |= {"inputs": ["audio-mfccseg", "words64"], "folds": 2, "train": {"epochs": 1}}
    config = parse_config(table)
    ingest_corpus(config, "talk", DT)
    extract_plan(config, plan_corpus(config, "talk"))
    made = release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    layout = StoreLayout(config.store)
    version = pick_version(layout.models, MODEL, made.version)
    assert json.loads(version.read("extraction.json"))["features"]["words64"] == OWN
    bare = config.model_copy(update={"features": {}})  # the version knows by itself what it was made with
    told = predict_files(bare, [tmp_path / "media" / "clip-00.wav"], f"{MODEL}@{made.version}")
    assert len(told.answers) == 1 and not told.unanswered
    assert np.isclose(sum(told.answers[0].said["probabilities"].values()), 1)
