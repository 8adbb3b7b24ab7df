"""Train every contender of a model on a frozen snapshot: once per part and seed, then once more for the release.

What is finished is never trained again: a killed run goes on with the fit it was in, at its last checkpoint.
Started by torchrun, all processes train every fit together, and rank 0 alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmpipe.config import Config, CorpusConfig, Judged, ModelConfig, TrainDevice
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.registry import answers_class
from mmpipe.evaluate.leaks import ClipRow, label_in_text
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.watching import folder_table, snapshot_tables, watch_stage
from mmpipe.steps.train.finetune import Beginning, Beginnings, find_beginning, finetuned_notes
from mmpipe.steps.train.fit_log import TrackedTraining, require_trackers
from mmpipe.steps.train.trained import DONE_NAME, ContenderScore, read_checkpoint, read_scores, unreleased
from mmpipe.steps.train.training_fits import TrainingFits
from mmpipe.steps.train.training_set import TrainingSet, open_training_set
from mmpipe.store.layout import open_store
from mmpipe.store.lease import Lease
from mmpipe.store.snapshot import save_snapshot
from mmpipe.train.ranks import join_ranks, speaks
from mmpipe.types import digest_of
from mmpipe.watch.stage import Stage
from mmpipe.watch.watcher import OpenStage
from mmpipe.words import counted

TRAINING_VERSION = 2  # part of every recipe: raise it when training gives other numbers for the same input


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training came to."""

    model: str
    measure: str  # what the scores are of
    checkpoint: str  # the folder's name under STORE/checkpoints
    snapshot: str
    scores: tuple[ContenderScore, ...]
    num_clips: int
    num_unlabelled: int
    left_out: Mapping[str, int]  # clips whose target cannot be used, by reason
    num_fits: int  # that this run made; 0: all were there already
    seconds: float
    notes: tuple[str, ...] = ()  # of trackers that failed

    def summary(self) -> str:
        """Return a line of Markdown."""
        left_out = "".join(f", {count} left out: {reason}" for reason, count in sorted(self.left_out.items()))
        return (
            f"`{self.model}`: {counted(len(self.scores), 'contender')} on {counted(self.num_clips, 'labelled clip')} "
            f"({self.num_unlabelled} without a label{left_out}), {counted(self.num_fits, 'fit')}, {self.seconds:.1f} s"
        )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per contender."""
        return [
            {
                "contender": score.name,
                "kind": "fused" if score.fused else "single",
                f"validation {self.measure}": round(score.validation_score, 4),
                f"test {self.measure}": round(score.test_score, 4),
            }
            for score in self.scores
        ]


def train_model(config: Config, model: str, progress: Progress = SILENT) -> TrainReport:
    """Train what a model's config asks for; return at once where this very recipe was trained before."""
    name, settings = config.model(model)
    if not speaks():  # of the processes that torchrun started, one is enough to watch
        return _train_model(config, name, settings, progress)
    with watch_stage(config, Stage.TRAIN, corpus=settings.corpus, model=name) as stage:
        report = _train_model(config, name, settings, progress)
        _tell(stage, config, report)
    return report


def _tell(stage: OpenStage, config: Config, report: TrainReport) -> None:
    """Say to whoever watches what a training came to."""
    layout = open_store(config.store)
    stage.read(partial(snapshot_tables, layout, report.snapshot))
    place = layout.checkpoints / report.checkpoint
    stage.made(lambda: [folder_table(place, version=report.checkpoint)])
    stage.count(clips=report.num_clips, contenders=len(report.scores), fits=report.num_fits)


def _train_model(config: Config, name: str, settings: ModelConfig, progress: Progress) -> TrainReport:
    started = time.monotonic()
    _, source = config.corpus(settings.corpus)
    layout = open_store(config.store, to_write=True)
    data = open_training_set(config, settings)
    refuse_told_labels(name, data)
    require_trackers(settings.train)
    beginning = find_beginning(config, settings, data)
    recipe = recipe_digest(settings, source, data, beginning)
    folder = layout.checkpoints / checkpoint_name(name, recipe)
    tracked = TrackedTraining(model=name, checkpoint=folder, runs=layout.runs)
    with (
        join_ranks("nccl" if settings.train.device is TrainDevice.CUDA else "gloo") as ranks,
        Lease.acquire(layout, f"train-{folder.name}") if ranks.writes else nullcontext(),
    ):
        judges_all = config.gate.judge is Judged.ALL
        told = progress if ranks.writes else SILENT
        begun = Beginnings(settings, beginning)
        training = TrainingFits(settings, source, data, folder, told, judges_all, ranks, tracked, begun)
        is_done = ranks.told((folder / DONE_NAME).exists() and not (judges_all and unreleased(folder)))
        if ranks.writes and (not is_done or data.snapshot.digest == read_checkpoint(folder)["snapshot"]):
            save_snapshot(layout, data.snapshot)
        num_fits = 0 if is_done else training.run(recipe)
    return TrainReport(
        model=name,
        measure=answers_class(settings.goal).measure,
        checkpoint=folder.name,
        snapshot=read_checkpoint(folder)["snapshot"],
        scores=read_scores(folder),
        num_clips=len(data.keys),
        num_unlabelled=data.num_unlabelled,
        left_out=data.left_out,
        num_fits=num_fits,
        seconds=time.monotonic() - started,
        notes=(*tracked.notes(), *finetuned_notes(read_checkpoint(folder))),
    )


def refuse_told_labels(model: str, data: TrainingSet) -> None:
    """Refuse a text input that holds the label itself: the network would read the answer, not learn it."""
    rows = (
        ClipRow(key=key, part="", group=group, text=text, label=label)
        for key, group, text, label in zip(data.keys, data.groups, data.texts, data.told, strict=True)
    )
    if leak := label_in_text(tuple(rows)):
        raise ConfigError(f"leak: {leak.detail.replace('models.NAME', f'models.{model}')}")


def recipe_digest(
    model: ModelConfig, source: CorpusConfig, data: TrainingSet, beginning: Beginning | None = None
) -> str:
    """Return the digest of everything that decides a training: data, settings, and this code's training version."""
    return digest_of(
        "recipe",
        TRAINING_VERSION,
        data.snapshot.core.digest,
        model.model_dump_json(exclude={**model.left_out(), "snapshot": True}),  # what that stands for counts
        source.split.model_dump_json(),
        *data.fingerprints,
        *(("forgotten", *data.forgotten) if data.forgotten else ()),  # other data than the snapshot had
        *(beginning.marks if beginning else ()),
    )


def checkpoint_name(model: str, recipe: str) -> str:
    """Return the name of the folder in which a recipe is trained."""
    return f"{model}-{recipe[:24]}"


def current_recipe(config: Config, model: str) -> str:
    """Return the recipe digest that training now would have."""
    _, settings = config.model(model)
    _, source = config.corpus(settings.corpus)
    data = open_training_set(config, settings)
    return recipe_digest(settings, source, data, find_beginning(config, settings, data))


def is_trained(config: Config, model: str) -> bool:
    """Say whether what the store and the config hold now was trained already."""
    name = checkpoint_name(model, current_recipe(config, model))
    return (open_store(config.store).checkpoints / name / DONE_NAME).exists()


def newest_checkpoint(config: Config, model: str) -> str:
    """Return the checkpoint of the current data and settings, or say how to make it."""
    name = checkpoint_name(model, current_recipe(config, model))
    if not is_trained(config, model):
        raise ConfigError(f"{model} was not trained on what the store holds now. Run: mmpipe train --model {model}")
    return name
