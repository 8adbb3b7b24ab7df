"""Judge a finished training: measure every contender on the same unseen clips, and let the gate decide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import Config, GateConfig, Judged, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.metrics import Metrics, measure
from mmpipe.evaluate.temperature import apply_temperature, choose_temperature
from mmpipe.evaluate.verdict import Candidate, Parity, Status, Verdict
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.ground.watching import folder_table, watch_stage
from mmpipe.steps.train.candidates import FitFolder, fit_folder, join_parts, validation_scores
from mmpipe.steps.train.data_leaks import find_data_leaks
from mmpipe.steps.train.linear_reference import REFERENCE
from mmpipe.steps.train.trained import CONTROL, read_checkpoint, unreleased
from mmpipe.steps.train.training_set import TrainingSet, open_training_set
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.snapshot import Snapshot, read_snapshot, snapshot_path
from mmpipe.watch.stage import Stage

PARITY_NAME = "parity.json"
PARITY_TOLERANCE = 1e-5
_BEFORE, _AFTER = ("contender", "kind", "chosen", "validation"), ("low", "high", "macro F1", "calibration error")
NO_CONTROL = "control: shuffled targets say nothing for this goal"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What a training is worth, and every number behind it."""

    model: str
    settings: ModelConfig
    checkpoint: Path
    recipe: str
    snapshot: str
    data: TrainingSet
    verdict: Verdict
    candidates: dict[str, Candidate]
    metrics: dict[str, Metrics]  # of classes alone; after the temperature
    without: dict[str, dict[str, float]]  # fused contender -> hidden feature -> worth
    also: dict[str, dict[str, Answers]]  # contender -> its other answers by name, on the same test clips
    seed_worths: dict[str, tuple[float, ...]]
    absent_inputs: tuple[str, ...]

    def table(self) -> list[dict[str, Any]]:
        """Return one row per contender."""
        return [
            {
                "contender": standing.name,
                "kind": "fused" if standing.fused else "single",
                "chosen": "yes" if standing.chosen else "",
                "validation": round(standing.validation_score, 4),
                self.verdict.measure: round(standing.worth.estimate, 4),
                "low": round(standing.worth.low, 4),
                "high": round(standing.worth.high, 4),
                **({"macro F1": round(standing.macro_f1.estimate, 4)} if standing.macro_f1 else {}),
                **(
                    {"calibration error": round(standing.calibration_after, 4)}
                    if standing.calibration_after is not None
                    else {}
                ),
            }
            for standing in self.verdict.standings
        ]


def in_reading_order(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of such a table that was kept as JSON, from left to right as people read it."""
    measure = [name for name in row if name not in (*_BEFORE, *_AFTER)]
    return {name: row[name] for name in (*_BEFORE, *measure, *_AFTER) if name in row}


def evaluate_checkpoint(config: Config, model: str, checkpoint: str, production: Answers | None = None) -> Evaluation:
    """Measure the contenders of a checkpoint and judge the best fused one, also against the version in production."""
    name, settings = config.model(model)
    with watch_stage(config, Stage.EVALUATE, corpus=settings.corpus, model=name) as stage:
        evaluation = _evaluate(config, name, settings, checkpoint, production)
        stage.read(lambda: [folder_table(evaluation.checkpoint, version=checkpoint)])
        stage.count(contenders=len(evaluation.candidates))
    return evaluation


def _evaluate(
    config: Config, name: str, settings: ModelConfig, checkpoint: str, production: Answers | None
) -> Evaluation:
    layout = open_store(config.store)
    folder = layout.checkpoints / checkpoint
    table = read_checkpoint(folder)
    data = open_training_set(config, settings)
    data = replace(data, snapshot=_trained_on(layout, data.snapshot, table["snapshot"]))
    if data.snapshot.digest != table["snapshot"]:
        raise ConfigError(
            f"the checkpoint {checkpoint} was trained on snapshot {table['snapshot']}, the store now is at "
            f"{data.snapshot.digest}: its answers are about other clips. Train again: mmpipe train --model {name}"
        )
    seeds, parts = settings.train.seeds, range(table["parts"])
    folders = {
        score["name"]: [fit_folder(folder, score["name"], part, seeds[0]) for part in parts]
        for score in table["scores"]
    }
    candidates = {
        score["name"]: _candidate(score["name"], score["fused"], folders[score["name"]]) for score in table["scores"]
    }
    if config.gate.judge is Judged.ALL and (missing := unreleased(folder)):
        raise ConfigError(
            f"gate.judge = 'all' judges every fused contender, and of {list(missing)} there are no weights to release. "
            f"Make them: mmpipe train --model {name}"
        )
    search = find_data_leaks(config, settings, data, layout)
    verdict = decide(
        candidates=tuple(candidates.values()),
        config=_gate_of(config, settings),
        leaks=search.leaks,
        unasked=search.unasked if steps_of(settings.goal).can_be_shuffled else (*search.unasked, NO_CONTROL),
        notes=search.notes,
        control=_control(folder, seeds[0]),
        production=production,
        parities={name: parity for name in candidates if (parity := read_parity(folder, name))},
        reference=_reference(folder, parts, seeds[0]),
    )
    return Evaluation(
        model=name,
        settings=settings,
        checkpoint=folder,
        recipe=table["recipe"],
        snapshot=table["snapshot"],
        data=data,
        verdict=verdict,
        candidates=candidates,
        metrics={
            key: measure(apply_temperature(c.predictions, c.temperature))
            for key, c in candidates.items()
            if isinstance(c.predictions, ClassAnswers)
        },
        without={key: _without(folders[key]) for key, c in candidates.items() if c.fused},
        also={key: _also(folders[key], settings) for key in candidates},
        seed_worths={
            key: tuple(
                join_parts([fit_folder(folder, key, part, seed) for part in parts], "test").worth for seed in seeds
            )
            for key in candidates
        },
        absent_inputs=tuple(table["absent_inputs"]),
    )


def _reference(folder: Path, parts: Iterable[int], seed: int) -> Candidate | None:
    """Return what a model without a network says of the same clips, where the goal has one."""
    folders = [fit_folder(folder, REFERENCE, part, seed) for part in parts]
    return _candidate(REFERENCE, False, folders) if all(each.done() for each in folders) else None


def _trained_on(layout: StoreLayout, now: Snapshot, digest: str) -> Snapshot:
    """Return the snapshot of a training where it has the clips and features of now: tables beside them may differ."""
    if now.digest == digest or not snapshot_path(layout, digest).is_file():
        return now
    then = read_snapshot(layout, digest)
    return then if then.core == now.core else now


def read_parity(checkpoint: Path, contender: str) -> Parity | None:
    """Return how far a contender's exported graph strays, None before it is exported."""
    note = checkpoint / "release" / contender / PARITY_NAME
    if not note.exists():
        return None
    return Parity(max_difference=json.loads(note.read_bytes())["max_difference"], tolerance=PARITY_TOLERANCE)


def is_refused(evaluation: Evaluation) -> bool:
    """Say whether the gate did not let through what it judged."""
    return evaluation.verdict.status is not Status.CANDIDATE


def _candidate(name: str, fused: bool, folders: list[FitFolder]) -> Candidate:
    # Validation parts of different folds share clips, so each fold's own answers fit the temperature of that fold;
    # one number serves all: the median.
    temperatures = [_temperature(folder.read("val")) for folder in folders]
    return Candidate(
        name=name,
        fused=fused,
        validation_scores=validation_scores(folders),
        predictions=join_parts(folders, "test"),
        temperature=float(np.median(temperatures)),
    )


def _gate_of(config: Config, settings: ModelConfig) -> GateConfig:
    """Return the gate, without a control where the goal has none."""
    if steps_of(settings.goal).can_be_shuffled:
        return config.gate
    return config.gate.model_copy(update={"shuffled_control": False})


def _temperature(answers: Answers) -> float:
    return choose_temperature(answers).temperature if isinstance(answers, ClassAnswers) else 1.0


def _control(folder: Path, seed: int) -> Answers | None:
    fit = fit_folder(folder, CONTROL, 0, seed)
    return fit.read("test") if fit.done() else None


def _also(folders: list[FitFolder], settings: ModelConfig) -> dict[str, Answers]:
    kinds = {name: f"also-{name}" for name in settings.also}
    have = {name: [folder for folder in folders if kind in folder.names()] for name, kind in kinds.items()}
    return {name: join_parts(some, kinds[name]) for name, some in have.items() if some}


def _without(folders: list[FitFolder]) -> dict[str, float]:
    kinds = [kind for kind in folders[0].names() if kind.startswith("without-")]
    return {kind.removeprefix("without-"): join_parts(folders, kind).worth for kind in kinds}
