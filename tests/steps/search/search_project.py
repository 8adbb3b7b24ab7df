"""A small corpus of sounds with words, whose release puts both into one space."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_corpus import CORPUS, DT, config_table, write_sound, write_words

from mmpipe.config import Config, parse_config
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus

MODEL = "find"
PITCHES_HZ = (220, 500, 1_100)
WORDS = ("rock", "sand", "ice")
SOUND, TEXT = "audio-mfccseg", "text-ngrams"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with media, a store and a release."""

    folder: Path

    def config(self, **tables: Any) -> Config:
        """Return the config, with other tables beside it."""
        table = config_table(
            self.folder,
            {
                MODEL: {
                    "corpus": CORPUS,
                    "goal": "retrieve",
                    "target": "",
                    "inputs": [SOUND, TEXT],
                    "encoder": {"components": 8, "width": 12, "segments": 2},
                    "train": {"epochs": 6, "learning_rate": 0.02, "dropout": 0.0, "batch_clips": 16},
                    "goal_options": {"dim": 6},
                }
            },
            labels={"file": str(self.folder / "labels.jsonl"), "key": "id", "group": "id"},
            features=[SOUND, TEXT],
            shard_clips=16,
        )
        return parse_config(table | {"gate": {"draws": 200}} | tables)

    def add(self, first: int, end: int) -> None:
        """Write sounds, each with a word for its pitch."""
        media = self.folder / "media"
        media.mkdir(exist_ok=True)
        for number in range(first, end):
            kind, name = number % len(WORDS), f"clip-{number:02d}"
            write_sound(media / f"{name}.wav", PITCHES_HZ[kind] + 3 * number, seconds=0.2)
            write_words(media / f"{name}.txt", f"a thing of {WORDS[kind]} {number % 7}")
        with (self.folder / "labels.jsonl").open("a", encoding="utf-8") as file:
            for number in range(first, end):
                file.write(json.dumps({"id": f"clip-{number:02d}", "what": WORDS[number % len(WORDS)]}) + "\n")

    def take_in(self, dt: str = DT) -> None:
        """Ingest what is new, and extract it."""
        config = self.config()
        ingest_corpus(config, CORPUS, dt)
        extract_plan(config, plan_corpus(config, CORPUS))
