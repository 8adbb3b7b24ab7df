"""Write the first config of a folder: every table says what it is for, every guess that it is one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import CONFIG_NAME, ClipRule, SourceKind
from mmpipe.steps.ingest.init_labels import FoundLabels
from mmpipe.steps.ingest.init_source import FoundCorpus

FOLDS = 5
_CLIPS = {
    ClipRule.WHOLE: "every recording is one clip; or window (length_s, hop_s), cues, shots, speech",
    ClipRule.CUES: "a clip for each cue of its captions; or whole, window (length_s, hop_s), shots, speech",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What is to be written."""

    corpus: str
    model: str
    lying: FoundCorpus
    labels: FoundLabels | None
    target: str | None
    inputs: tuple[str, ...]
    clips: ClipRule
    store: Path
    notes: tuple[str, ...]


def render_config(guess: Guess, beside: Path) -> str:
    """Return the config as TOML; paths are relative to the folder `beside`, where they lie under it or close by."""
    parts = [_head(guess, beside), _corpus(guess, beside)]
    if guess.target and guess.inputs:
        parts.append(_model(guess, guess.target))
    return "\n".join(line for part in parts for line in (*part, "")).rstrip("\n") + "\n"


def _head(guess: Guess, beside: Path) -> Iterator[str]:
    yield f"# {CONFIG_NAME}: what a night does. Paths are relative to this file. Every key: mmpipe config"
    yield "# Found by looking at the folder:"
    yield from (f"#   {_comment(note)}" for note in guess.notes)
    yield ""
    yield "# Where features, models and reports are kept: a folder, or s3://bucket/prefix."
    yield f"store = {_path(guess.store, beside)}"
    yield "# Zone of the schedule: a partition is the scheduled date there."
    yield 'timezone = "UTC"'


def _corpus(guess: Guess, beside: Path) -> Iterator[str]:
    lying, labels = guess.lying, guess.labels
    yield "# Raw files. Those of one folder and stem are one asset: walk.mp4, walk.vtt and walk.json belong together."
    yield f"[corpora.{guess.corpus}]"
    yield f"root = {_path(lying.root, beside)}"
    if lying.source.kind is not SourceKind.FOLDER:
        yield "# What lies there is not read file by file; `mmpipe ingest` tells what is wrong."
        yield lying.toml(_path(lying.table, beside) if lying.table else "")
    if labels:
        group = f", group = {_text(labels.group)}" if labels.group else ""
        yield "# `key` names the file of a row; clips of one `group` are never in train and test at once."
        yield f"labels = {{ file = {_path(labels.file, beside)}, key = {_text(labels.key)}{group} }}"
    yield f"# How recordings are cut: {_CLIPS.get(guess.clips, 'or whole, window (length_s, hop_s), cues')}."
    yield f"clips = {{ rule = {_text(guess.clips.value)} }}"
    if lying.arrays:
        yield "# Numbers of sensors. `rate_hz` or `time_column` is their clock; without one an array belongs to every"
        yield "# clip of its asset."
        yield f"arrays = {{ suffixes = [{', '.join(_text(suffix) for suffix in lying.arrays)}] }}"


def _model(guess: Guess, target: str) -> Iterator[str]:
    labels = guess.labels
    others = [name for name in (labels.targets if labels else ()) if name != target]
    yield "# Every input alone and every fusion of them are trained; one no better than its best input is refused."
    yield f"[models.{guess.model}]"
    yield f"corpus = {_text(guess.corpus)}"
    also = f"; or: {', '.join(map(_comment, others[:6]))}" if others else ""
    yield f"# What it answers: a column of the labels, or `cue`, the text of a cue{also}."
    yield f"target = {_text(target)}"
    yield "# Features of what was found; `mmpipe config features` and `mmpipe fusions` list others."
    yield f"inputs = [{', '.join(_text(name) for name in guess.inputs)}]"
    yield "# Every clip is tested once, by models that never saw its group."
    yield f"folds = {min(FOLDS, labels.num_groups) if labels else FOLDS}"


def _comment(text: str) -> str:
    """Return text that stays within its comment, whatever a file or column is called."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _path(path: Path, beside: Path) -> str:
    """Return a path relative to the config's folder where it lies under it or close by, else absolute."""
    relative = os.path.relpath(path, beside)
    return _text(relative if relative.count("..") <= 2 else str(path.resolve()))


def _text(text: str) -> str:
    return json.dumps(str(text), ensure_ascii=False)
