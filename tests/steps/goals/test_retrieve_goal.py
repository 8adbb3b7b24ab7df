"""Captions found by their sounds, from the labels table to a released space that others can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_corpus import CORPUS, DT, config_table, write_sound, write_words

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.matches import MatchAnswers
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.examine import examine
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.candidates import fit_folder, join_parts, list_contenders
from mmpipe.steps.train.linear_reference import REFERENCE
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import open_training_set
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

MODEL = "find"
PITCHES_HZ = (220, 330, 500, 750, 1_100, 1_700)
WORDS = ("rock", "oak", "sand", "tin", "silk", "ice")
SOUNDS = ("audio-mfcc", "audio-mfccseg")
DIM = 6


def config_of(folder: Path, features: dict[str, Any] | None = None, **model: Any) -> Config:
    table = config_table(
        folder,
        {
            MODEL: {
                "corpus": CORPUS,
                "goal": "retrieve",
                "target": "what",
                "inputs": ["audio-mfccseg", "text-ngrams"],
                "encoder": {"components": 8, "width": 12, "segments": 2},
                "train": {"epochs": 30, "learning_rate": 0.02, "dropout": 0.0, "batch_clips": 16},
                **model,
                "goal_options": {"dim": DIM, **model.get("goal_options", {})},
            }
        },
        clips={"rule": "whole"},
        labels={"file": str(folder / "labels.jsonl"), "key": "id", "group": "id"},
        features=[*SOUNDS, "text-ngrams", *(features or {})],
    )
    return parse_config(table | {"features": features or {}, "gate": {"draws": 500}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a corpus of 72 sounds of six pitches, each with the word for its pitch, ingested and extracted."""
    folder = tmp_path_factory.mktemp("retrieve")
    (folder / "media").mkdir()
    rows = []
    for number in range(72):
        kind, name = number % len(WORDS), f"clip-{number:02d}"
        write_sound(folder / "media" / f"{name}.wav", PITCHES_HZ[kind] + number)
        write_words(folder / "media" / f"{name}.txt", f"a thing of {WORDS[kind]}")
        rows.append({"id": name, "what": WORDS[kind]})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = config_of(folder)
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    return folder


def test_sounds_find_their_words_and_a_text_beside_its_own_words_is_no_leak(folder: Path) -> None:
    config = config_of(folder, folds=3)
    made = train_model(config, MODEL)
    assert made.measure == "mean reciprocal rank" and [score.name for score in made.scores] == ["audio-mfccseg@1"]
    found = evaluate_checkpoint(config, MODEL, made.checkpoint)
    answers = found.candidates["audio-mfccseg@1"].predictions
    assert isinstance(answers, MatchAnswers) and answers.worth > 0.8
    assert len(np.unique(answers.galleries_N)) == 3 and answers.listed_N.sum() < 72 * 40
    assert 0.2 < answers.constant().worth < 0.5  # each word is said several times in a fold
    assert found.verdict.status == "candidate", found.verdict.sentence
    assert "over chance" in found.verdict.sentence and not found.verdict.leaks
    assert "reference" in {check.name for check in found.verdict.checks}  # a line separates pure tones as well
    assert any(reason.startswith("control:") for reason in found.verdict.not_checked)
    folders = [fit_folder(StoreLayout(config.store).checkpoints / made.checkpoint, REFERENCE, n, 0) for n in range(3)]
    line = join_parts(folders, "test")
    assert isinstance(line, MatchAnswers) and line.keys == answers.keys and line.worth > 0.8
    np.testing.assert_array_equal(line.galleries_N, answers.galleries_N)
    examined = examine(config, found)
    assert {"r@1", "query r@5", "item median_rank"} <= examined.figures.measures.keys()


@pytest.fixture(scope="module")
def fused(folder: Path):
    options = {"query": list(SOUNDS), "anchor": "text-ngrams"}
    config = config_of(folder, inputs=[*SOUNDS, "text-ngrams"], goal_options=options, fusions=["concat"])
    return config, train_model(config, MODEL)


def test_a_fused_side_competes_with_each_of_its_inputs(fused) -> None:
    config, made = fused
    assert [(score.name, score.fused) for score in made.scores] == [
        ("audio-mfcc@1", False),
        ("audio-mfccseg@1", False),
        ("concat", True),
    ]
    contenders = list_contenders(config.models[MODEL], open_training_set(config, config.models[MODEL]).schemas)
    read = {one.name: [schema.feature for schema in one.inputs] for one in contenders}
    assert read["audio-mfcc@1"] == ["audio-mfcc@1", "text-ngrams@1"] and len(read["concat"]) == 3
    verdict = evaluate_checkpoint(config, MODEL, made.checkpoint).verdict
    assert verdict.judged == "concat" and verdict.gain.reference in ("audio-mfcc@1", "audio-mfccseg@1")


@pytest.mark.slow
def test_a_released_space_is_an_extractor_for_each_modality(folder: Path) -> None:
    config = config_of(folder)
    made = train_model(config, MODEL)
    report = release_model(config, MODEL, made.checkpoint)
    version = pick_version(config.store / "models", MODEL, report.version)
    card = version.read("README.md").decode()
    assert "one shared space" in card and "reads audio-mfccseg@1, text-ngrams@1 and" in card
    tables = {
        name: {"extractor": f"release:{MODEL}@{report.version}", "modality": modality}
        for name, modality in (("sound-space", "audio"), ("text-space", "text"))
    }
    wider = config_of(folder, features=tables)
    extract_plan(wider, plan_corpus(wider, CORPUS))
    spaces = ("sound-space@1", "text-space@1")
    layout = StoreLayout(wider.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, spaces), spaces)
    batch = reader.gather(np.arange(len(reader)))
    sounds_ND, texts_ND = (batch.features[name].x_BTD[:, 0].astype(float) for name in spaces)
    assert sounds_ND.shape == texts_ND.shape == (72, DIM)
    np.testing.assert_allclose(np.linalg.norm(sounds_ND, axis=1), 1, atol=1e-5)
    kind_N = np.array([json.loads(labels)["what"] for labels in reader.spine["labels"]])
    nearest_N = kind_N[(sounds_ND @ texts_ND.T).argmax(axis=1)]
    assert (nearest_N == kind_N).mean() > 0.8
    (answer,) = predict_files(config, [folder / "media" / "clip-03.wav"], MODEL).answers
    row = list(reader.spine["key"]).index(answer.key)
    vectors = answer.said["vectors"]
    np.testing.assert_allclose(vectors["query"], sounds_ND[row], atol=1e-5)
    assert answer.said["similarity"] == pytest.approx(sounds_ND[row] @ texts_ND[row], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal_options": {"query": ["video-hogdct"]}}, "both sides"),
        ({"inputs": ["audio-mfccseg"]}, "both sides"),
        ({"goal_options": {"querry": ["x"]}}, "querry"),
        ({"train": {"label_smoothing": 0.1}}, "label_smoothing"),
    ],
)
def test_what_makes_no_search_is_refused_by_the_config(folder: Path, changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(folder, **changes)


def test_without_a_target_every_clip_is_a_pair_of_its_own(folder: Path) -> None:
    config = config_of(folder, target="")
    data = open_training_set(config, config.models[MODEL])
    assert len(set(data.targets_N.tolist())) == 72 and data.classes == () and not any(data.told)
    with pytest.raises(ConfigError, match="none of 72 clips"):
        wrong = config_of(folder, target="smell")
        open_training_set(wrong, wrong.models[MODEL])
