"""From tagged sentences to a model that tags: import, ingest, extract, train and evaluate, with text and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conll_files import sentences_of, write_sentences
from typer.testing import CliRunner

from mmpipe.cli.main import app
from mmpipe.config import load_config
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.steps.train.candidates import fit_folder
from mmpipe.steps.train.training_set import open_training_set

pytestmark = [pytest.mark.usefixtures("warm_workers"), pytest.mark.slow]

SIZES = {"train": 64, "valid": 16, "test": 24}
# A picture decides what kind of name a name is: the same words are persons before one and places before the other.
AMBIGUOUS = ("Austin", "Chelsea", "Florence", "Georgia", "Jordan", "Paris", "Sydney", "Victoria")
TRAIN = "train = { epochs = 25, batch_clips = 8, learning_rate = 0.01, dropout = 0.0 }\n"


def write_tweets(folder: Path) -> Path:
    """Write three files of sentences, and for each sentence a picture that is bright on one side."""
    from PIL import Image

    (folder / "pictures").mkdir(parents=True)
    for seed, (split, count) in enumerate(SIZES.items()):
        rng = np.random.default_rng(seed)
        made, images = [], []
        for number, sentence in enumerate(sentences_of(count, seed)):
            is_person = bool(rng.integers(2))
            names = iter(rng.choice(AMBIGUOUS, len(sentence)))
            kind = "PER" if is_person else "LOC"
            made.append([(w, t) if t == "O" else (str(next(names)), f"{t[:2]}{kind}") for w, t in sentence])
            images.append(f"{split}{number}")
            pixels = np.tile(rng.integers(0, 120, 3, dtype=np.uint8), (32, 32, 1))
            pixels[:, slice(16) if is_person else slice(16, None)] += 130
            Image.fromarray(pixels).save(folder / "pictures" / f"{images[-1]}.jpg")
        write_sentences(folder / f"{split}.txt", made, images)
    return folder


def type_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *commands: str) -> str:
    monkeypatch.chdir(folder)
    told = ""
    for command in commands:
        answer = CliRunner().invoke(app, command.split())
        assert answer.exit_code in (0, 4), f"{command}: {answer.output}"
        told = answer.output
    return told


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A corpus of pictured sentences, trained on both."""
    home = tmp_path_factory.mktemp("tags")
    theirs, out = write_tweets(home / "theirs"), home / "out"
    with pytest.MonkeyPatch.context() as patch:
        type_in(home, patch, f"import conll --from {theirs} --images {theirs}/pictures --out {out}")
        config = out / "mmpipe.toml"
        config.write_text(config.read_text("utf-8") + TRAIN, "utf-8")
        type_in(out, patch, "ingest", "extract", "train")
    return out


def said(folder: Path, contender: str) -> TagAnswers:
    (done,) = (folder / "store" / "checkpoints").glob("*/checkpoint.json")
    found = fit_folder(done.parent, contender, 0, 0).read("test")
    assert isinstance(found, TagAnswers)
    return found


def test_words_and_pictures_together_know_what_neither_does_alone(trained: Path) -> None:
    fused, words, picture = (said(trained, name) for name in ("concat", "text-words@1", "image-hogdct@1"))
    assert fused.classes == ("B-LOC", "B-PER", "I-LOC", "I-PER", "O") and len(fused.keys) == SIZES["test"]
    assert fused.worth > 0.9
    assert 0.2 < words.worth < 0.8, "where a name is, words say; of which kind, they cannot"
    assert picture.worth < 0.4, "a picture does not say where a name is"
    np.testing.assert_array_equal(fused.said_NT >= 0, fused.truth_NT >= 0)


def test_the_control_on_shuffled_tags_stays_low(trained: Path) -> None:
    assert said(trained, "control").worth < 0.35


def test_the_evaluation_names_entities_and_the_gate_lets_the_fused_model_pass(trained: Path, monkeypatch) -> None:
    told = type_in(trained, monkeypatch, "evaluate")
    assert "concat earned its release: its micro F1 over text-words@1" in told
    assert "image-hogdct@1" in told


def test_a_clip_whose_words_changed_is_left_out_and_said(trained: Path, monkeypatch) -> None:
    """Stop-words are left out of the texts: sentences that had some have fewer words than tags."""
    config = trained / "mmpipe.toml"
    monkeypatch.chdir(trained)
    settings = load_config(config)
    data = open_training_set(settings, settings.models["conll"])
    assert (len(data.keys), data.num_unlabelled, dict(data.left_out)) == (sum(SIZES.values()), 0, {})
    labels = trained / "labels.jsonl"
    lines = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    lines[0]["tags"] += " O"
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    type_in(trained, monkeypatch, "ingest")
    data = open_training_set(settings, settings.models["conll"])
    assert (len(data.keys), data.num_unlabelled) == (sum(SIZES.values()) - 1, 0)
    assert dict(data.left_out) == {"words_and_tags_differ": 1}


def test_too_few_steps_stop_before_any_fit(trained: Path, monkeypatch) -> None:
    short = trained / "short.toml"
    short.write_text((trained / "mmpipe.toml").read_text("utf-8").replace("steps = 16", "steps = 4"), "utf-8")
    monkeypatch.chdir(trained)
    from mmpipe.steps.train.train import train_model

    with pytest.raises(ConfigError, match=r"steps = 4, and the longest sentence has \d+ words"):
        train_model(load_config(short), "conll")
