"""Corpora on which it is known beforehand what a model can learn, small enough to train in a second."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from kill_corpus import config_table, write_cues, write_sound, write_words

NUM_GROUPS = 12
CLIPS_PER_GROUP = 4
MODEL = "who"
LOW_HZ, HIGH_HZ = 320, 1_400
WORDS = (("warm", "slow", "steam"), ("cold", "quick", "metal"))


def write_pairs_that_need_both(root: Path) -> None:
    """Write sounds with captions: the sound tells one half of the class, the caption the other half."""
    root.mkdir(parents=True)
    rows = []
    for number in range(NUM_GROUPS * CLIPS_PER_GROUP):
        tone, word = number % 2, number // 2 % 2
        name = f"clip-{number:02d}"
        write_sound(root / f"{name}.wav", (LOW_HZ, HIGH_HZ)[tone] + 3 * number)
        write_words(root / f"{name}.txt", f"{WORDS[word][number % 3]} {WORDS[word][(number + 1) % 3]} room")
        rows.append({"id": name, "who": f"{'ab'[tone]}{'xy'[word]}", "room": f"room-{number // CLIPS_PER_GROUP}"})
    _write_labels(root, rows)


def write_cues_that_need_the_sound(root: Path) -> None:
    """Write sounds with two cues each: the sound tells the class, the words tell nothing."""
    root.mkdir(parents=True)
    random, rows = np.random.default_rng(5), []
    for number in range(2 * NUM_GROUPS):
        tone, name = number % 2, f"clip-{number:02d}"
        write_sound(root / f"{name}.wav", (LOW_HZ, HIGH_HZ)[tone] + 3 * number, seconds=0.8)
        told = [" ".join(random.choice([*WORDS[0], *WORDS[1]], 3)) for _ in range(2)]
        write_cues(root / f"{name}.vtt", [(0.0, 0.4, told[0]), (0.4, 0.8, told[1])])
        rows.append({"id": name, "who": "ab"[tone], "room": f"room-{number // 2}"})
    _write_labels(root, rows)


def model_table(folder: Path, clips: str, **gate: Any) -> dict[str, Any]:
    """Return the config of one small model over sounds and captions."""
    model = {
        "corpus": "talk",
        "target": "who",
        "inputs": ["audio-mfccseg", "text-ngrams"],
        "fusions": ["concat"],
        "folds": 3,
        "encoder": {"components": 8, "width": 8, "segments": 2},
        "train": {"epochs": 30, "learning_rate": 0.02, "checkpoint_every_epochs": 3, "dropout": 0.0},
    }
    table = config_table(
        folder,
        {MODEL: model},
        clips={"rule": clips},
        labels={"file": str(folder / "labels.jsonl"), "key": "id", "group": "room"},
        features=["audio-mfccseg", "text-ngrams"],
    )
    return table | {"gate": {"draws": 500, "max_calibration_error": 1.0, **gate}}


def copy_store(source: Path, target: Path) -> Path:
    """Copy a store as it lies, hard links and all."""
    shutil.copytree(source, target, symlinks=True)
    return target


def _write_labels(root: Path, rows: list[dict[str, str]]) -> None:
    (root.parent / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
