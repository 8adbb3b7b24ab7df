"""Keep a training from beginning with weights that have learnt what it would be judged on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmpipe.config import ModelConfig, SplitConfig
from mmpipe.errors import ConfigError, StoreError
from mmpipe.registry.versions import Version
from mmpipe.steps.plan.inputs import STREAM_COLUMNS
from mmpipe.steps.train.candidates import FitFolder, fit_folder
from mmpipe.steps.train.taught_inputs import FOLDS
from mmpipe.steps.train.trained import DONE_NAME, read_checkpoint
from mmpipe.steps.train.training_set import Part, TrainingSet, plan_parts, plan_release_part
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import read_pinned_spine, read_snapshot
from mmpipe.types import Modality, Split
from mmpipe.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of a release, chosen for a part of a training."""

    folder: Path
    counts: bool  # it did not train on the part's validation clips either, which may thus judge it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taught:
    """A network, and what it has learnt from."""

    folder: Path
    what: str
    groups: frozenset[str]  # of its corpus; none where that is another one
    streams: frozenset[str]  # digests of tracks, texts left out: equal short ones say nothing
    trained: frozenset[str]  # keys of its corpus' clips that changed its weights; those that stopped it did not


def choose_networks(
    layout: StoreLayout,
    version: Version,
    folder: Path,
    lineage: Mapping[str, Any],
    model: ModelConfig,
    split: SplitConfig,
    data: TrainingSet,
) -> tuple[tuple[Network, ...], Network]:
    """Return a network of a release for each part of a training, and one for what is released in the end.

    Each learnt from nothing that its part tests.
    That is the released one where it keeps to the same fixed split, or learnt from other clips; of a release by folds
    of this corpus the network of the fold, which never saw the fold's test groups. Raise ConfigError where none is.
    """
    last = plan_release_part(model, split, data)
    taught = list(_networks(layout, version, folder, lineage, model, data, last))
    snapshot = str(lineage["snapshot"])
    parts = tuple(_choose(taught, part, model, data, snapshot) for part in plan_parts(model, split, data))
    return parts, _network(taught[0], last, data) if model.folds else parts[0]


def _network(taught: _Taught, part: Part, data: TrainingSet) -> Network:
    unseen = taught.trained.isdisjoint(data.keys[row] for row in part.val_rows)
    return Network(folder=taught.folder, counts=unseen)


def _choose(taught: list[_Taught], part: Part, model: ModelConfig, data: TrainingSet, snapshot: str) -> Network:
    groups = {data.groups[row] for row in part.test_rows}
    streams = {digest for row in part.test_rows for digest in data.streams[row]}
    released, *by_fold = taught
    mine = by_fold[part.number : part.number + 1]
    for network in (released, *mine, *(each for each in by_fold if each not in mine)):
        if not (network.groups & groups or network.streams & streams):
            return _network(network, part, data)
    shared = sorted(released.groups & groups)
    what = counted(len(shared), "group") if shared else counted(len(released.streams & streams), "track")
    first = f", first {shared[0]!r}" if shared else ""
    raise ConfigError(
        f"leak: {released.what} has learnt from {what}{first} on which "
        f"{f'fold {part.number + 1} of {model.folds}' if model.folds else 'the test split'} would be judged"
        f"{', and no network of its folds is free of them' if by_fold else ''}. Begin from a release that was judged "
        "by the same split and `folds`, or from one of other recordings. New groups may deal the folds anew: its own "
        f"snapshot is {snapshot}"
    )


def _networks(
    layout: StoreLayout,
    version: Version,
    folder: Path,
    lineage: Mapping[str, Any],
    model: ModelConfig,
    data: TrainingSet,
    last: Part,
) -> Iterator[_Taught]:
    """Yield the released network, then those of its folds where they were kept."""
    label = f"{version.name}@{version.label}"
    spine = _spine(layout, label, lineage)
    is_ours = lineage.get("corpus") == model.corpus
    # One without a word on folds is of before they were noted: it may have learnt from everything.
    if lineage.get(FOLDS, 1) == 0:
        rows = spine.filter(pl.col("split") == Split.TRAIN.value)
        yield _taught(folder, label, spine.filter(pl.col("split") != Split.TEST.value), rows["key"], is_ours)
        return
    folds = _fold_folders(layout, version, lineage)
    tested = [frozenset(fold.read("test").keys) for fold in folds]
    known = frozenset().union(*tested)
    learnt = spine.filter(pl.col("key").is_in(sorted(known))) if known else spine
    stopped = {data.keys[row] for row in last.val_rows} if known == set(data.keys) else set()
    yield _taught(folder, label, learnt, known - stopped if known else spine["key"], is_ours)
    for number, (fold, mine) in enumerate(zip(folds, tested, strict=True), 1):
        if fold.weights.is_dir():
            rest = learnt.filter(~pl.col("key").is_in(sorted(mine)))
            trained = known - mine - set(fold.read("val").keys)
            yield _taught(fold.weights, f"{label} (fold {number})", rest, trained, is_ours)


def _taught(folder: Path, what: str, learnt: pl.DataFrame, trained: Iterable[str], is_ours: bool) -> _Taught:
    columns = [column for modality, column in STREAM_COLUMNS.items() if modality is not Modality.TEXT]
    streams = {digest for column in columns for digest in learnt[column].unique() if digest}
    groups = frozenset(learnt["group"].unique()) if is_ours else frozenset()
    keys = frozenset(trained) if is_ours else frozenset()
    return _Taught(folder=folder, what=what, groups=groups, streams=frozenset(streams), trained=keys)


def _spine(layout: StoreLayout, label: str, lineage: Mapping[str, Any]) -> pl.DataFrame:
    try:
        return read_pinned_spine(layout, read_snapshot(layout, lineage["snapshot"]))
    except (ConfigError, StoreError) as error:
        raise ConfigError(
            f"the clips that {label} has learnt from cannot be told: {error}. Begin from another release"
        ) from error


def _fold_folders(layout: StoreLayout, version: Version, lineage: Mapping[str, Any]) -> list[FitFolder]:
    """Return the folds of the training that a release is of; none where it is gone."""
    checkpoint = layout.checkpoints / str(lineage.get("checkpoint", ""))
    if not (checkpoint / DONE_NAME).is_file():
        return []
    table = read_checkpoint(checkpoint)
    contender = json.loads(version.read("metrics.json"))["contender"]
    seed = int(table["model"]["train"]["seeds"][0])
    return [fit_folder(checkpoint, contender, part, seed) for part in range(table["parts"])]
