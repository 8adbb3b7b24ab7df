"""Look at a folder and propose a config for it: a start that runs, and says what was guessed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import CONFIG_NAME, ClipRule, LabelsConfig, SourceKind
from mmpipe.errors import ConfigError
from mmpipe.evaluate.leaks import ClipRow, label_in_text
from mmpipe.sources.labels import LabelTable, read_columns, read_labels
from mmpipe.sources.matching import match_labels
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.goals.column import CUE_TARGET
from mmpipe.steps.ingest.init_source import FoundCorpus, find_corpus
from mmpipe.types import Modality
from mmpipe.words import counted

_KEY_NAMES = ("id", "key", "stem", "name", "file", "filename", "path")
_TARGET_NAMES = ("label", "class", "target", "event", "category", "digit", "emotion", "sentiment", "word")
_GROUP_NAMES = ("group", "speaker", "subject", "actor", "user", "session", "room", "scene")
_INPUT_OF_MODALITY = {
    Modality.VIDEO: ("audio-mfccseg", "video-hogdct"),
    Modality.AUDIO: ("audio-mfccseg",),
    Modality.IMAGE: ("image-hogdct",),
    Modality.TEXT: ("text-ngrams",),
    Modality.ARRAY: ("array-stats",),
}
_GENERIC_FOLDERS = ("audio", "corpora", "corpus", "data", "dataset", "files", "images", "media", "raw", "videos")
MIN_GROUPS = 3
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A config as text, and one line for each thing that was guessed."""

    toml: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    file: Path
    key: str
    columns: tuple[str, ...]  # all but the key
    group: str | None
    targets: tuple[str, ...]  # possible ones, the likeliest first
    num_groups: int
    matched: int
    told: frozenset[str]  # targets whose value stands in another column of its row: a transcript tells them


def propose_config(
    root: Path,
    labels_file: Path | None = None,
    target: str | None = None,
    clips: ClipRule = ClipRule.WHOLE,
    store: Path = Path("store"),
    beside: Path = Path(),
    name: str | None = None,
) -> Proposal:
    """Propose a config for a folder; paths in it are relative to the folder `beside`, where they lie under it."""
    if not root.is_dir() and not root.is_file():
        raise ConfigError(f"{root} is not a folder. Name the folder of raw files with --corpus.")
    corpus = name or corpus_name(root.with_suffix("") if root.is_file() else root)
    labels_file = labels_file or find_labels(root)
    lying = find_corpus(root, labels_file)
    found, labels_file = lying.modalities, labels_file if root.is_dir() else lying.table
    labels = _examine_labels(labels_file, lying.assets) if labels_file else None
    chosen = _choose_target(target, clips, labels)
    told = chosen == CUE_TARGET or bool(labels and chosen in labels.told)
    inputs = _choose_inputs({modality for modality in found if modality}, chosen, told)
    kinds = ", ".join(counted(count, f"{modality} file") for modality, count in sorted(found.items(), key=str))
    notes = [f"{root}: {counted(len(lying.assets), 'stem')}, {kinds}", *([lying.note] if lying.note else [])]
    notes.append(_labels_note(labels, labels_file))
    if chosen and inputs:
        left_out = "; the text is left out, because it tells the label" if told and Modality.TEXT in found else ""
        notes.append(f"the model tells `{chosen}` from {', '.join(inputs)}{left_out}")
    else:
        notes.append("no model: there is no target to learn. Add labels and a [models.NAME] table")
    toml = _render(corpus, lying, labels, chosen, inputs, clips, store, beside)
    return Proposal(toml=toml, notes=tuple(notes))


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


def find_labels(root: Path) -> Path | None:
    """Return the labels table that lies in a corpus folder or beside it."""
    for folder in (root, root.parent) if root.is_dir() else ():
        for suffix in ("jsonl", "csv", "parquet"):
            if (folder / f"labels.{suffix}").is_file():
                return folder / f"labels.{suffix}"
    return None


def _examine_labels(file: Path, assets: Sequence[AssetFiles]) -> _Labels:
    """Find the column that names the assets, the one that groups them, and those worth predicting."""
    columns = read_columns(file)
    best: tuple[int, str, LabelTable] | None = None
    for key in sorted(columns, key=lambda column: (_rank(column, _KEY_NAMES), column)):
        try:
            table = read_labels(LabelsConfig(file=file, key=key))
            matched = len(match_labels(table, assets).labels)
        except ConfigError:
            continue  # not a key: empty or ambiguous values
        if best is None or matched > best[0]:
            best = (matched, key, table)
    if best is None or best[0] == 0:
        raise ConfigError(f"no column of {file} names the files of the corpus; its columns are {sorted(columns)}")
    matched, key, table = best
    distinct = {
        column: len({row.values[column] for row in table.rows if column in row.values})
        for column in table.columns
        if column != key
    }
    groups = [column for column in _GROUP_NAMES if distinct.get(column, 0) >= MIN_GROUPS]
    group = groups[0] if groups else None
    targets = [
        column
        for column, count in distinct.items()
        if column not in _GROUP_NAMES and 2 <= count <= max(2, matched // 4)
    ]
    targets.sort(key=lambda column: (_rank(column, _TARGET_NAMES), column))
    return _Labels(
        file=file,
        key=key,
        columns=tuple(distinct),
        group=group,
        targets=tuple(targets),
        num_groups=distinct[group] if group else matched,
        matched=matched,
        told=frozenset(target for target in targets if _is_told(table, target)),
    )


def _is_told(table: LabelTable, target: str) -> bool:
    """Say whether other columns hold the target's value as words: captions of this corpus would then be the answer."""
    rows = [
        ClipRow(
            key=row.key,
            part="",
            group="",
            text=" ".join(value for column, value in row.values.items() if column != target),
            label=row.values.get(target, ""),
        )
        for row in table.rows
    ]
    return label_in_text(rows) is not None


def _rank(column: str, names: Sequence[str]) -> int:
    return names.index(column) if column in names else len(names)


def _choose_target(target: str | None, clips: ClipRule, labels: _Labels | None) -> str | None:
    if target:
        _require_target(target, clips, labels)
        return target
    if clips is ClipRule.CUES:
        return CUE_TARGET
    return labels.targets[0] if labels and labels.targets else None


def _require_target(target: str, clips: ClipRule, labels: _Labels | None) -> None:
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


def _labels_note(labels: _Labels | None, file: Path | None) -> str:
    if labels is None:
        return (
            f"no labels table ({file or 'labels.jsonl, labels.csv or labels.parquet'}); everything but training works"
        )
    group = f"grouped by `{labels.group}`" if labels.group else "every asset is its own group"
    return f"{labels.file}: {counted(labels.matched, 'stem', 'have', 'has')} labels by `{labels.key}`, {group}"


def _render(
    corpus: str,
    lying: FoundCorpus,
    labels: _Labels | None,
    target: str | None,
    inputs: tuple[str, ...],
    clips: ClipRule,
    store: Path,
    beside: Path,
) -> str:
    lines = [
        f"# {CONFIG_NAME}: what a night does. Paths are relative to this file. Every key: mmpipe config",
        f"store = {_path(store, beside)}",
        'timezone = "UTC"  # zone of the schedule: a partition is the scheduled date there',
        "",
        f"[corpora.{corpus}]",
        f"root = {_path(lying.root, beside)}",
    ]
    if lying.source.kind is not SourceKind.FOLDER:
        lines.append(lying.toml(_path(lying.table, beside) if lying.table else ""))
    if labels:
        group = f", group = {_text(labels.group)}" if labels.group else ""
        lines.append(f"labels = {{ file = {_path(labels.file, beside)}, key = {_text(labels.key)}{group} }}")
    lines.append(f"clips = {{ rule = {_text(clips.value)} }}  # whole, window (length_s, hop_s) or cues")
    if lying.arrays:
        lines += [
            f"arrays = {{ suffixes = [{', '.join(_text(suffix) for suffix in lying.arrays)}] }}"
            "  # rate_hz or time_column is their clock; without one an array belongs to every clip of its asset"
        ]
    if target and inputs:
        folds = min(FOLDS, labels.num_groups) if labels else FOLDS
        others = [name for name in (labels.targets if labels else ()) if name != target]
        lines += [
            "",
            f"[models.{_model_name(corpus, target)}]",
            f"corpus = {_text(corpus)}",
            f"target = {_text(target)}" + (f"  # or: {', '.join(others[:6])}" if others else ""),
            f"inputs = [{', '.join(_text(name) for name in inputs)}]",
            f"folds = {folds}  # every clip is tested once, by models that never saw its group",
        ]
    return "\n".join(lines) + "\n"


def _path(path: Path, beside: Path) -> str:
    """Return a path relative to the config's folder where it lies under it or close by, else absolute."""
    relative = os.path.relpath(path, beside)
    return _text(relative if relative.count("..") <= 2 else str(path.resolve()))


def _text(text: str) -> str:
    return json.dumps(str(text), ensure_ascii=False)
