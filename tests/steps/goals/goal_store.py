"""One small store for all goals: sounds with captions, of which it is known what can be learnt from which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from kill_corpus import CORPUS, DT, config_table, write_sound, write_words
from kill_models import copy_store

from mmpipe.config import Config, parse_config
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus

MODEL = "said"
NUM_ROOMS, CLIPS_PER_ROOM = 16, 4
TONES_HZ = (320, 1_400)
WORDS = (("warm", "slow", "steam"), ("cold", "quick", "metal"))


class GoalStore:
    """Sounds are low or high, captions warm or cold: each label below is of one of them, or of both.

    height (number): of the sound; sum (number): of both; kinds (labels): any of low/high and warm/cold; who: the class
    of both; says (text): both in words; likes (users): who likes low, who likes warm, who likes all; health: normal
    but for the high cold ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = folder / "media"
        root.mkdir(parents=True)
        random, rows = np.random.default_rng(3), []
        for number in range(NUM_ROOMS * CLIPS_PER_ROOM):
            tone, word, name = number % 2, number // 2 % 2, f"clip-{number:02d}"
            write_sound(root / f"{name}.wav", TONES_HZ[tone] + 3 * number)
            write_words(root / f"{name}.txt", " ".join(random.choice(WORDS[word], 3)) + " room")
            kinds = [("low", "high")[tone], ("warm", "cold")[word]]
            users = ["lo"] * (not tone) + ["wa"] * (not word) + ["all"]
            rows.append(
                {
                    "id": name,
                    "room": f"room-{number // CLIPS_PER_ROOM}",
                    "who": f"{'ab'[tone]}{'xy'[word]}",
                    "height": f"{tone + 0.02 * random.normal():.4f}",
                    "sum": f"{10 * tone + 4 * word + 0.1 * random.normal():.4f}",
                    "kinds": kinds if number % 3 else ",".join(kinds),  # a list, or a text
                    "likes": ",".join(users),
                    "says": f"{['low', 'high'][tone]} and {['warm', 'cold'][word]}",
                    "health": "odd" if tone and word else "normal",
                }
            )
        (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        config = self.config(target="who")
        ingest_corpus(config, CORPUS, DT)
        extract_plan(config, plan_corpus(config, CORPUS))

    def config(self, store: Path | None = None, gate: dict[str, Any] | None = None, **model: Any) -> Config:
        """Return a config of one model over the store."""
        table = config_table(
            self.folder,
            {
                MODEL: {
                    "corpus": CORPUS,
                    "inputs": ["audio-mfccseg", "text-ngrams"],
                    "fusions": ["concat"],
                    "folds": 4,
                    "encoder": {"components": 8, "width": 12, "segments": 2},
                    "train": {"epochs": 40, "learning_rate": 0.02, "dropout": 0.0, **model.pop("train", {})},
                    **model,
                }
            },
            clips={"rule": "whole"},
            labels={"file": str(self.folder / "labels.jsonl"), "key": "id", "group": "room"},
            features=["audio-mfccseg", "text-ngrams"],
        )
        table["store"] = str(store or self.folder / "store")
        return parse_config(table | {"gate": {"draws": 500, "max_calibration_error": 1.0, **(gate or {})}})

    def copied(self, folder: Path, **model: Any) -> Config:
        """Return a config of one model over a copy of the store: what it trains and releases stays there."""
        return self.config(copy_store(self.folder / "store", folder / "store"), **model)
