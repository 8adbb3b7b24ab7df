"""Look at a folder and propose a config for it: a start that runs, and says what was guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import ClipRule
from mmpipe.errors import ConfigError
from mmpipe.steps.goals.column import CUE_TARGET
from mmpipe.steps.ingest.init_labels import FoundLabels, examine_labels, find_labels
from mmpipe.steps.ingest.init_source import FoundCorpus, find_corpus
from mmpipe.steps.ingest.init_toml import Guess, render_config
from mmpipe.types import Modality
from mmpipe.words import counted

_INPUT_OF_MODALITY = {
    Modality.VIDEO: ("audio-mfccseg", "video-hogdct"),
    Modality.AUDIO: ("audio-mfccseg",),
    Modality.IMAGE: ("image-hogdct",),
    Modality.TEXT: ("text-ngrams",),
    Modality.ARRAY: ("array-stats",),
}
_GENERIC_FOLDERS = ("audio", "corpora", "corpus", "data", "dataset", "files", "images", "media", "raw", "videos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A config as text, and one line for each thing that was guessed."""

    toml: str
    notes: tuple[str, ...]


def propose_config(
    root: Path,
    labels_file: Path | None = None,
    target: str | None = None,
    clips: ClipRule = ClipRule.WHOLE,
    store: Path = Path("store"),
    beside: Path = Path(),
    name: str | None = None,
    *,
    no_labels: bool = False,
) -> Proposal:
    """Propose a config for a folder; paths in it are relative to the folder `beside`, where they lie under it.

    Without a labels file, a table that lies there is taken where it names the files; with `no_labels` none is.
    """
    if not root.is_dir() and not root.is_file():
        raise ConfigError(f"{root} is not a folder. Name the folder of raw files with --corpus.")
    corpus = name or corpus_name(root.with_suffix("") if root.is_file() else root)
    guessed = None if no_labels or labels_file else find_labels(root)
    lying = find_corpus(root, labels_file or guessed)
    found, labels_file = lying.modalities, labels_file if root.is_dir() else lying.table
    labels, passed_over = None, ""
    if labels_file and not no_labels:
        labels = examine_labels(labels_file, lying.assets)
    elif guessed:
        labels, passed_over = _try_labels(guessed, lying, target)
    chosen = _choose_target(target, clips, labels)
    told = chosen == CUE_TARGET or bool(labels and chosen in labels.told)
    inputs = _choose_inputs({modality for modality in found if modality}, chosen, told)
    kinds = ", ".join(counted(count, f"{modality} file") for modality, count in sorted(found.items(), key=str))
    notes = [f"{root}: {counted(len(lying.assets), 'stem')}, {kinds}", *([lying.note] if lying.note else [])]
    notes += [passed_over] if passed_over else []
    notes.append(_labels_note(labels))
    if chosen and inputs:
        left_out = "; the text is left out, because it tells the label" if told and Modality.TEXT in found else ""
        notes.append(f"the model tells `{chosen}` from {', '.join(inputs)}{left_out}")
    else:
        notes.append("no model: there is no target to learn. Add labels and a [models.NAME] table")
    guess = Guess(
        corpus=corpus,
        model=_model_name(corpus, chosen or ""),
        lying=lying,
        labels=labels,
        target=chosen,
        inputs=inputs,
        clips=clips,
        store=store,
        notes=tuple(notes),
    )
    return Proposal(toml=render_config(guess, beside), notes=tuple(notes))


def guess_labels(root: Path) -> Path | None:
    """Return the labels table of a corpus, where it names its files: the corpus's own, in its folder, or beside it."""
    guessed = root if root.is_file() else find_labels(root)
    return guessed if guessed and _try_labels(guessed, find_corpus(root, guessed), None)[0] else None


def _try_labels(guessed: Path, lying: FoundCorpus, target: str | None) -> tuple[FoundLabels | None, str]:
    """Return what a table that nobody named is good for, or why it is passed over; where a target needs it, refuse."""
    try:
        return examine_labels(guessed, lying.assets), ""
    except ConfigError as error:
        if target and target != CUE_TARGET:
            raise
        return None, f"{guessed} is passed over: {error}"


def possible_targets(root: Path, labels_file: Path | None, clips: ClipRule) -> tuple[str, ...]:
    """Return what a model of a folder could learn, the likeliest first."""
    cues = (CUE_TARGET,) if clips is ClipRule.CUES else ()
    if not labels_file or not root.is_dir():
        return cues
    return (*cues, *examine_labels(labels_file, find_corpus(root, labels_file).assets).targets)


def corpus_name(root: Path) -> str:
    """Return a name that a config may use, made from the folder's, or of the nearest above it that says anything."""
    folder = root.resolve()
    named = (_slug(one.name) for one in (folder, *folder.parents))
    return next((name for name in named if name and name not in _GENERIC_FOLDERS), _slug(folder.name) or "corpus")


def _slug(text: str) -> str:
    """Return text as a config's names are written."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:62]


def _model_name(corpus: str, target: str) -> str:
    """Return a name for the model: a corpus may have more of them, so it is not the corpus's own."""
    return f"{corpus[:40]}-{_slug(target)[:20] or 'model'}"


def _choose_target(target: str | None, clips: ClipRule, labels: FoundLabels | None) -> str | None:
    if target:
        _require_target(target, clips, labels)
        return target
    if clips is ClipRule.CUES:
        return CUE_TARGET
    return labels.targets[0] if labels and labels.targets else None


def _require_target(target: str, clips: ClipRule, labels: FoundLabels | None) -> None:
    """Refuse a target that no clip would have: it would show only after a whole ingest and extraction."""
    if target == CUE_TARGET:
        if clips is not ClipRule.CUES:
            raise ConfigError(f"the target `{CUE_TARGET}` is the text of a cue. Cut clips by cues: --clips cues")
    elif labels is None:
        raise ConfigError(f"the target {target!r} is a column of a labels table, and there is none. Name one: --labels")
    elif target not in labels.columns:
        raise ConfigError(f"{labels.file} has no column {target!r}; known columns are: {list(labels.columns)}")


def _choose_inputs(modalities: set[Modality], target: str | None, told: bool) -> tuple[str, ...]:
    names = {name for modality in modalities for name in _INPUT_OF_MODALITY[modality]}
    if told:
        names.discard("text-ngrams")
    return tuple(sorted(names))


def _labels_note(labels: FoundLabels | None) -> str:
    if labels is None:
        return "no labels table (labels.jsonl, labels.csv or labels.parquet); everything but training works"
    group = f"grouped by `{labels.group}`" if labels.group else "every asset is its own group"
    return f"{labels.file}: {counted(labels.matched, 'stem', 'have', 'has')} labels by `{labels.key}`, {group}"
