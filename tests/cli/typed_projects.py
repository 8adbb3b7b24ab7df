"""Projects to type lines in, typing one in this process, and what a line says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_maker import CORPUS, write_text, write_tone

from mmpipe.cli import main
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6),
    max_steps=9,
    missing=0.4,
)
HOSTILE = "no\x1b[31m\x9b1m\u202e"  # a label that would colour, clear or turn the terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a command line said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Type = Callable[..., Told]


def type_words(folder: Path, words: Sequence[str]) -> Told:
    """Run a line in this process, as a shell in a folder would: for fixtures of a module, which have no `capfd`."""
    out, err = io.StringIO(), io.StringIO()
    before, place, code = signal.getsignal(signal.SIGTERM), Path.cwd(), 0
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os.chdir(place)
        signal.signal(signal.SIGTERM, before)
    return Told(code=code, out=out.getvalue(), err=err.getvalue())


LABELS = 'labels = { file = "labels.jsonl", group = "speaker" }'


def write_config(folder: Path, *lines: str) -> None:
    """Write a config of the sounds under `folder/media`; `lines` are further ones of the corpus, then of models."""
    head = [
        'store = "store"',
        "engine = { workers = 2 }",
        "gate = { draws = 200 }",
        "release = { onnx = false }",  # it takes seconds, and tests/train has it
        f"[corpora.{CORPUS}]",
        'root = "media"',
        'features = ["audio-mfccseg", "text-ngrams"]',
    ]
    write_text(folder / "mmpipe.toml", "\n".join([*head, *lines]) + "\n")


def write_sample_project(folder: Path, *features: SampleFeature) -> Path:
    """Make a store of made-up values of two dates, with a config of it; there are no raw files."""
    make_sample_store(folder / "store", features, partitions=("2026-11-19", "2026-11-20"))
    (folder / "mmpipe.toml").write_text('store = "store"\n[corpora.sample]\nroot = "."\n', encoding="utf-8")
    return folder


def write_words(folder: Path) -> None:
    """Write 24 tones, low for one word and high for the other, with labels; a copy, and a file that is no film."""
    (folder / "media").mkdir()
    rows = []
    for number in range(24):
        name, word = f"s{number:02d}", ("yes", HOSTILE)[number % 2]
        write_tone(folder / "media" / f"{name}.wav", hz=(400, 2_000)[number % 2] + 7 * number)
        write_text(folder / "media" / f"{name}.txt", f"caption {number} \x1b[31m of nothing")
        rows.append(json.dumps({"id": name, "word": word, "speaker": f"p{number // 2}"}))
    for suffix in (".wav", ".txt"):
        shutil.copy2(folder / "media" / f"s00{suffix}", folder / "media" / f"twin{suffix}")
    write_text(folder / "media" / "broken\x1b[2J.mp4", "no film")
    write_text(folder / "labels.jsonl", "\n".join(rows))


def model_table(name: str, *inputs: str, epochs: int = 2) -> str:
    """Return the TOML of a model that learns `word` in a moment."""
    train = f"{{ epochs = {epochs}, learning_rate = 0.05 }}"
    return (
        f'[models.{name}]\ncorpus = "{CORPUS}"\ntarget = "word"\ninputs = {json.dumps(inputs)}\n'
        f'fusions = ["concat"]\nfolds = 2\ntrain = {train}\nencoder = {{ width = 8, components = 8 }}\n'
    )
