"""Train every contender of a model on a frozen snapshot: once per part and seed, then once more for the release.

What is finished is never trained again: a killed run goes on with the fit it was in, at its last epoch.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import Config, CorpusConfig, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.leaks import ClipRow, label_in_text
from mmpipe.evaluate.predictions import Predictions
from mmpipe.io import canonical_json, make_directory, replace_bytes, sync_directory
from mmpipe.steps.candidates import Contender, fit_folder, join_parts, list_contenders, validation_scores
from mmpipe.steps.progress import SILENT, Progress
from mmpipe.steps.seal import seal_folder
from mmpipe.steps.training_set import Part, TrainingSet, open_training_set, plan_parts, plan_release_part
from mmpipe.store.layout import open_store
from mmpipe.store.lease import Lease
from mmpipe.store.snapshot import save_snapshot
from mmpipe.types import digest_of
from mmpipe.words import counted

TRAINING_VERSION = 1  # part of every recipe: raise it when training gives other numbers for the same input
DONE_NAME = "checkpoint.json"
CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderScore:
    """How a contender did: the mean over parts on validation, all clips together on the test."""

    name: str
    fused: bool
    validation_accuracy: float
    test_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training came to."""

    model: str
    checkpoint: str  # the folder's name under STORE/checkpoints
    snapshot: str
    scores: tuple[ContenderScore, ...]
    num_clips: int
    num_unlabelled: int
    num_fits: int  # that this run made; 0: all were there already
    seconds: float

    def summary(self) -> str:
        """Return a line of Markdown."""
        return (
            f"`{self.model}`: {counted(len(self.scores), 'contender')} on {counted(self.num_clips, 'labelled clip')} "
            f"({self.num_unlabelled} without a label), {counted(self.num_fits, 'fit')}, {self.seconds:.1f} s"
        )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per contender."""
        return [
            {
                "contender": score.name,
                "kind": "fused" if score.fused else "single",
                "validation accuracy": round(score.validation_accuracy, 4),
                "test accuracy": round(score.test_accuracy, 4),
            }
            for score in self.scores
        ]


def train_model(config: Config, model: str, progress: Progress = SILENT) -> TrainReport:
    """Train what a model's config asks for; return at once where this very recipe was trained before."""
    started = time.monotonic()
    name, settings = config.model(model)
    _, source = config.corpus(settings.corpus)
    layout = open_store(config.store, to_write=True)
    data = open_training_set(config, settings)
    refuse_told_labels(name, data)
    recipe = recipe_digest(settings, source, data)
    folder = layout.checkpoints / checkpoint_name(name, recipe)
    with Lease.acquire(layout, f"train-{folder.name}"):
        training = _Training(settings, source, data, folder, progress)
        is_done = (folder / DONE_NAME).exists()
        if not is_done or data.snapshot.digest == read_checkpoint(folder)["snapshot"]:
            save_snapshot(layout, data.snapshot)
        num_fits = 0 if is_done else training.run(recipe)
    return TrainReport(
        model=name,
        checkpoint=folder.name,
        snapshot=read_checkpoint(folder)["snapshot"],
        scores=read_scores(folder),
        num_clips=len(data.keys),
        num_unlabelled=data.num_unlabelled,
        num_fits=num_fits,
        seconds=time.monotonic() - started,
    )


def refuse_told_labels(model: str, data: TrainingSet) -> None:
    """Refuse a text input that holds the label itself: the network would read the answer, not learn it."""
    rows = (
        ClipRow(key=key, part="", group=group, text=text, label=data.classes[label])
        for key, group, text, label in zip(data.keys, data.groups, data.texts, data.labels_N.tolist(), strict=True)
    )
    if leak := label_in_text(tuple(rows)):
        raise ConfigError(f"leak: {leak.detail.replace('models.NAME', f'models.{model}')}")


def recipe_digest(model: ModelConfig, source: CorpusConfig, data: TrainingSet) -> str:
    """Return the digest of everything that decides a training: data, settings, and this code's training version."""
    return digest_of(
        "recipe",
        TRAINING_VERSION,
        data.snapshot.core.digest,
        model.model_dump_json(exclude={"snapshot"}),  # what it stands for counts, not how it is called
        source.split.model_dump_json(),
        *data.fingerprints,
        *(("forgotten", *data.forgotten) if data.forgotten else ()),  # other data than the snapshot had
    )


def checkpoint_name(model: str, recipe: str) -> str:
    """Return the name of the folder in which a recipe is trained."""
    return f"{model}-{recipe[:24]}"


def current_recipe(config: Config, model: str) -> str:
    """Return the recipe digest that training now would have."""
    _, settings = config.model(model)
    _, source = config.corpus(settings.corpus)
    return recipe_digest(settings, source, open_training_set(config, settings))


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


def read_scores(folder: Path) -> tuple[ContenderScore, ...]:
    """Return the scores of a finished training."""
    return tuple(ContenderScore(**score) for score in read_checkpoint(folder)["scores"])


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what a finished training wrote last."""
    try:
        table: dict[str, Any] = json.loads((folder / DONE_NAME).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"no finished training at {folder}. Run: mmpipe train") from error
    return table


class _Training:
    """One recipe's fits."""

    def __init__(
        self, model: ModelConfig, source: CorpusConfig, data: TrainingSet, folder: Path, progress: Progress
    ) -> None:
        self.model, self.source, self.data, self.folder, self.progress = model, source, data, folder, progress
        self.parts = plan_parts(model, source.split, data)
        self.seed = model.train.seeds[0]

    def run(self, recipe: str) -> int:
        """Make every fit that is missing, choose by validation, fit for the release; return how many were made."""
        make_directory(self.folder)
        schemas = self.data.present_schemas()
        contenders = list_contenders(self.model, schemas)
        self.pooled = self._pool()
        fits = [(c, part, seed) for part in self.parts for c in contenders for seed in self.model.train.seeds]
        self.progress.start("train", len(fits) + 3)
        made = sum(self._fit(*fit) for fit in fits)
        scores = [self._score(contender) for contender in contenders]
        best = [_best(scores, fused) for fused in (False, True) if any(score.fused is fused for score in scores)]
        by_name = {contender.name: contender for contender in contenders}
        for score in best:
            self._fit_release(by_name[score.name])
            self.progress.advance("train", note=f"release {score.name}")
        made += self._fit_control(by_name[best[-1].name]) + len(best)
        table = {
            "recipe": recipe,
            "snapshot": self.data.snapshot.digest,
            "corpus": self.model.corpus,
            "model": self.model.model_dump(mode="json"),
            "classes": list(self.data.classes),
            "inputs": [schema.feature for schema in schemas],
            "absent_inputs": [schema.feature for schema in self.data.schemas if schema not in schemas],
            "single": best[0].name,
            "fused": best[1].name if len(best) > 1 else "",
            "parts": len(self.parts),
            "scores": [
                {
                    "name": score.name,
                    "fused": score.fused,
                    "validation_accuracy": score.validation_accuracy,
                    "test_accuracy": score.test_accuracy,
                }
                for score in scores
            ],
        }
        data = canonical_json(table)
        seal_folder(self.folder, anew=True, coming={DONE_NAME: data})
        replace_bytes(self.folder / DONE_NAME, data)
        return made

    def _pool(self) -> Any:
        """Read the frames once for all fits, where their segment means fit into memory."""
        from mmpipe.train.data import pool_source

        inputs = self._spec(list_contenders(self.model, self.data.present_schemas())[-1]).inputs
        return pool_source(self.data.reader, inputs, self.model.encoder.segments, self.data.reader_rows_N)

    def _spec(self, contender: Contender) -> Any:
        from mmpipe.fusion.spec import InputSpec, ModelSpec

        return ModelSpec(
            fusion=contender.fusion,
            inputs=tuple(InputSpec(feature=s.feature, kind=s.kind, dim=s.dim) for s in contender.inputs),
            classes=self.data.classes,
            encoder=self.model.encoder,
            dropout=self.model.train.dropout,
            modality_dropout=self.model.train.modality_dropout,
        )

    def _train(self, contender: Contender, part: Part, seed: int, where: Path, labels_N: np.ndarray) -> Any:
        from mmpipe.train.loop import train_network

        # The reader knows clips by its own rows; labels are spread out to match.
        labels_R = np.full(len(self.data.reader), -1, dtype=np.int64)
        labels_R[self.data.reader_rows_N] = labels_N
        return train_network(
            self._spec(contender),
            self.pooled,
            labels_R,
            self.data.reader_rows_N[part.train_rows],
            self.data.reader_rows_N[part.val_rows],
            self.model.train,
            seed,
            checkpoint_dir=where,
        )

    def _predict(self, model: Any, rows: np.ndarray, hidden: tuple[str, ...] = ()) -> Predictions:
        from mmpipe.train.weights import infer

        answers = infer(model, self.pooled, self.data.reader_rows_N[rows], hidden=hidden)
        return self.data.predictions(rows, answers.probabilities_NK)

    def _fit(self, contender: Contender, part: Part, seed: int) -> bool:
        """Make one fit unless it is there; say whether it was made."""
        folder = fit_folder(self.folder, contender.name, part.number, seed)
        note = f"{contender.name}, part {part.number}"
        made = not folder.done()
        if made:
            trained = self._train(contender, part, seed, folder.path / "epochs", self.data.labels_N)
            features = [schema.feature for schema in contender.inputs] if contender.fused else []
            folder.write(
                self._predict(trained.model, part.val_rows),
                self._predict(trained.model, part.test_rows),
                {feature: self._predict(trained.model, part.test_rows, (feature,)) for feature in features},
            )
        self.progress.advance("train", note=note)
        return made

    def _score(self, contender: Contender) -> ContenderScore:
        folders = [fit_folder(self.folder, contender.name, part.number, self.seed) for part in self.parts]
        return ContenderScore(
            name=contender.name,
            fused=contender.fused,
            validation_accuracy=float(np.mean(validation_scores(folders))),
            test_accuracy=float(np.mean(join_parts(folders, "test").correct_N)),
        )

    def _fit_release(self, contender: Contender) -> None:
        """Fit the weights that would be released; after folds they learn from all parts but a validation share."""
        from mmpipe.train.weights import save_model

        target = self.folder / "release" / contender.name
        if target.exists():
            return
        part = plan_release_part(self.model, self.source.split, self.data)
        staged = self.folder / "release-epochs" / contender.name
        weights = staged / "weights"
        trained = self._train(contender, part, self.seed, staged, self.data.labels_N)
        shutil.rmtree(weights, ignore_errors=True)  # of a killed run
        save_model(trained.model, weights)
        make_directory(target.parent)
        weights.rename(target)  # there whole, or not at all
        sync_directory(target.parent)

    def _fit_control(self, contender: Contender) -> bool:
        """Fit on shuffled labels: what it scores, the evaluation gives away for nothing."""
        part = self.parts[0]
        folder = fit_folder(self.folder, CONTROL, part.number, self.seed)
        made = not folder.done()
        if made:
            labels_N = self.data.labels_N.copy()
            learnt = np.concatenate([part.train_rows, part.val_rows])
            labels_N[learnt] = np.random.default_rng(self.seed).permutation(labels_N[learnt])
            trained = self._train(contender, part, self.seed, folder.path / "epochs", labels_N)
            folder.write(self._predict(trained.model, part.val_rows), self._predict(trained.model, part.test_rows), {})
        self.progress.advance("train", note="control on shuffled labels")
        return made


def _best(scores: list[ContenderScore], fused: bool) -> ContenderScore:
    """Return the best of a kind by validation; of equals the first."""
    return max((score for score in scores if score.fused is fused), key=lambda score: score.validation_accuracy)
