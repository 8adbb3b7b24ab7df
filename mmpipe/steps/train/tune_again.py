"""The best trials of a search, trained again with several seeds: one lucky start must not choose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mmpipe.config import ModelConfig
from mmpipe.errors import MmpipeError, StoreError, TransientError
from mmpipe.io import canonical_json, make_directory, replace_bytes
from mmpipe.steps.ground.progress import Progress
from mmpipe.steps.train.tune_space import model_at
from mmpipe.steps.train.tune_study import TuneStudy
from mmpipe.steps.train.tune_trial import TuneTrials


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One of the best trials; a seed with which it diverged has None, one that is still to be trained is missing."""

    number: int
    point: Mapping[str, Any]
    values: Mapping[int, float | None]  # by seed

    @property
    def mean(self) -> float | None:
        """Return the mean over the seeds; None where one of them diverged."""
        values = list(self.values.values())
        return (
            None if not values or None in values else float(np.mean([value for value in values if value is not None]))
        )

    @property
    def deviation(self) -> float:
        """Return the standard deviation over the seeds."""
        return float(np.std([value for value in self.values.values() if value is not None] or [0.0]))


def train_again(study: TuneStudy, trials: TuneTrials, model: ModelConfig, progress: Progress) -> tuple[Finalist, ...]:
    """Train the best trials with every seed that is missing, and return them, the best by their mean first.

    What another process is at is left to it, and is missing in what is returned.
    """
    best = study.best(model.tune.top)
    fits = [(trial, seed) for trial in best for seed in model.tune.seeds]
    progress.start("seeds", len(fits))
    make_directory(study.folder / "again")
    for trial, seed in fits:
        note = f"trial {trial.number}, seed {seed}"
        _train_once(study, trials, model, trial, seed, progress, note)
        progress.advance("seeds", note=note)
    return read_finalists(study, model)


def read_finalists(study: TuneStudy, model: ModelConfig) -> tuple[Finalist, ...]:
    """Return the best trials with what is known of their seeds, the best by their mean first."""
    found = [
        Finalist(
            number=trial.number,
            point=trial.params,
            values={
                seed: json.loads(path.read_bytes())["value"]
                for seed in model.tune.seeds
                if (path := _path(study, trial.number, seed)).exists()
            },
        )
        for trial in study.best(model.tune.top)
    ]
    return tuple(sorted(found, key=lambda finalist: _rank(study, model, finalist)))


def _rank(study: TuneStudy, model: ModelConfig, finalist: Finalist) -> tuple[bool, bool, float, int]:
    """Return what sorts the best first: those of which all is known, without the diverged ones."""
    is_known = set(finalist.values) == set(model.tune.seeds)
    mean = finalist.mean
    worse = 0.0 if mean is None else -mean if study.rises else mean
    return not is_known, mean is None, worse, finalist.number


def _train_once(
    study: TuneStudy,
    trials: TuneTrials,
    model: ModelConfig,
    trial: Any,
    seed: int,
    progress: Progress,
    note: str,
) -> None:
    path = _path(study, trial.number, seed)
    if path.exists():
        return
    if seed == model.train.seeds[0]:
        replace_bytes(path, canonical_json({"value": trial.value}))  # the trial itself had it
        return
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            if not path.exists():
                value = _value(trials, model_at(model, trial.params), seed, progress, note)
                replace_bytes(path, canonical_json({"value": value}))
    except Timeout:
        return  # another process is at it


def _value(trials: TuneTrials, model: ModelConfig, seed: int, progress: Progress, note: str) -> float | None:
    def tell(_epoch: int, _value: float, said: str) -> None:
        progress.advance("seeds", 0, f"{note}, {said}")

    try:
        return trials.train(model, seed, tell)
    except (StoreError, TransientError):
        raise
    except MmpipeError:  # it diverged: with such a seed it cannot be relied on
        return None


def _path(study: TuneStudy, number: int, seed: int) -> Path:
    return study.folder / "again" / f"trial-{number}-seed-{seed}.json"
