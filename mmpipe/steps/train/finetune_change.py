"""What going on from a release has changed: both networks, asked about the same clips that neither learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import Config, ModelConfig
from mmpipe.evaluate.answers.base import Answers, join
from mmpipe.evaluate.bootstrap import paired_difference
from mmpipe.evaluate.interval import Interval
from mmpipe.steps.release.evaluate import Evaluation
from mmpipe.steps.train.candidates import fit_folder
from mmpipe.steps.train.finetune import find_beginning, finetuned_lineage
from mmpipe.steps.train.trained import read_checkpoint
from mmpipe.steps.train.training_set import TrainingSet, open_training_set, plan_parts
from mmpipe.store.layout import open_store

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How much better a network is than the one that it began from."""

    what: str  # the model, or the model with one modality alone
    before: float
    after: float
    change: Interval  # paired by clip, resampled by group


def measure_change(config: Config, model: str, checkpoint: str) -> tuple[Change, ...]:
    """Return what a finished training changed of the release that its best fused contender began from."""
    _, settings = config.model(model)
    if not settings.finetune.begin_from:
        return ()
    folder = open_store(config.store).checkpoints / checkpoint
    table = read_checkpoint(folder)
    contender = table["fused"] or table["single"]
    return change_of(config, settings, open_training_set(config, settings), folder, contender)


def change_of(
    config: Config, settings: ModelConfig, data: TrainingSet, folder: Path, contender: str
) -> tuple[Change, ...]:
    """Return the change of a contender, and of what it says with each of its modalities alone.

    Nothing where it began with random weights, where the release answers another question, and where the networks of
    the folds were not kept.
    """
    beginning = find_beginning(config, settings, data)
    if beginning is None or not finetuned_lineage(read_checkpoint(folder), contender):
        return ()
    _, source = config.corpus(settings.corpus)
    asked: dict[str, list[tuple[Answers, Answers]]] = {}
    for part in plan_parts(settings, source.split, data):
        after = _network(settings, folder, contender, part.number)
        if not after.is_dir():
            return ()
        pair = [_Asked(data, place, part.test_rows) for place in (beginning.parts[part.number].folder, after)]
        if not pair[0].is_like(pair[1]):
            return ()
        for kept in ("", *(pair[1].features if len(pair[1].features) > 1 else ())):
            asked.setdefault(kept, []).append((pair[0].answer(kept), pair[1].answer(kept)))
    wanted = {"confidence": config.gate.confidence, "draws": config.gate.draws, "seed": SEED}
    return tuple(_change(contender, kept, answers, wanted) for kept, answers in asked.items())


def change_rows(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Return one row per change for a person."""
    return [
        {
            "what": change.what,
            "before": round(change.before, 4),
            "after": round(change.after, 4),
            "change": round(change.change.estimate, 4),
            "low": round(change.change.low, 4),
            "high": round(change.change.high, 4),
            "groups": change.change.num_groups,
        }
        for change in changes
    ]


def trace_finetuning(config: Config, evaluation: Evaluation, contender: str) -> dict[str, Any]:
    """Return what a version's lineage says of where its weights began, and of what that changed."""
    begun = finetuned_lineage(read_checkpoint(evaluation.checkpoint), contender)
    if not begun:
        return {}
    found = change_of(config, evaluation.settings, evaluation.data, evaluation.checkpoint, contender)
    return {"finetuned": begun | ({"changes": [asdict(change) for change in found]} if found else {})}


def _change(contender: str, kept: str, answers: list[tuple[Answers, Answers]], wanted: dict[str, Any]) -> Change:
    before, after = (join(list(parts)) for parts in zip(*answers, strict=True))
    return Change(
        what=f"{contender} with {kept} alone" if kept else contender,
        before=before.aligned_to(after.keys).worth,
        after=after.worth,
        change=paired_difference(after, before, **wanted),
    )


def _network(settings: ModelConfig, folder: Path, contender: str, part: int) -> Path:
    """Return where the network lies that was tested on a part."""
    if not settings.folds:
        return folder / "release" / contender
    return fit_folder(folder, contender, part, settings.train.seeds[0]).weights


class _Asked:
    """A network, asked about some clips with all of its modalities or one alone."""

    def __init__(self, data: TrainingSet, place: Path, rows: np.ndarray) -> None:
        from mmpipe.train.data import pool_source
        from mmpipe.train.weights import load_model

        self._data, self._rows, self._reader_rows = data, rows, data.reader_rows_N[rows]
        self._model = load_model(place)
        self.features: tuple[str, ...] = self._model.spec.features
        self._source = pool_source(data.reader, self._model.spec, self._reader_rows)

    def is_like(self, other: _Asked) -> bool:
        """Say whether both answer the same question from the same inputs."""
        mine, its = self._model.spec, other._model.spec
        return (mine.features, mine.classes, mine.goal) == (its.features, its.classes, its.goal)

    def answer(self, kept: str) -> Answers:
        """Return what it says with one modality, or with all where none is named."""
        from mmpipe.train.weights import infer

        hidden = [name for name in self.features if kept and name != kept]
        found = infer(self._model, self._source, self._reader_rows, hidden=hidden)
        return self._data.answers(self._rows, found.answers_N)
