"""What a search came to: its trials, the best of them over several seeds, and what to put into the config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpipe.steps.train.tune_again import Finalist
from mmpipe.steps.train.tune_space import FUSION, Axis
from mmpipe.steps.train.tune_study import KILLS, WHY, TuneStudy
from mmpipe.words import counted

BEST_NAME = "best.toml"
_STATES = {"COMPLETE": "finished", "PRUNED": "ended early", "RUNNING": "running"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """A search as it stands."""

    model: str
    study: str
    folder: str
    snapshot: str
    measure: str
    axes: tuple[Axis, ...]
    trials: tuple[Mapping[str, Any], ...]
    finalists: tuple[Finalist, ...]
    best: Mapping[str, Any]  # by key; empty: nothing finished
    toml: str
    num_left: int
    num_running: int
    num_new: int  # that this run did
    seconds: float

    def summary(self) -> str:
        """Return a line."""
        finished = sum(row["state"] == "finished" for row in self.trials)
        left = f", {self.num_left} to do" if self.num_left else ""
        running = f", {self.num_running} running in other processes" if self.num_running else ""
        return (
            f"{self.model}: {counted(len(self.trials), 'trial')}, {finished} finished{left}{running}; "
            f"{self.num_new} by this run in {self.seconds:.0f} s. {self.folder}"
        )

    def finalist_rows(self) -> list[dict[str, Any]]:
        """Return one row per finalist."""
        return [
            {
                "trial": one.number,
                f"mean {self.measure}": "diverged" if one.mean is None and one.values else one.mean,
                "deviation": one.deviation,
                **{f"seed {seed}": "diverged" if value is None else value for seed, value in one.values.items()},
            }
            for one in self.finalists
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "model": self.model,
            "study": self.study,
            "folder": self.folder,
            "snapshot": self.snapshot,
            "measure": self.measure,
            "tried": [axis.row() for axis in self.axes],
            "trials": [dict(row) for row in self.trials],
            "finalists": [
                {
                    "trial": one.number,
                    "mean": one.mean,
                    "deviation": one.deviation,
                    "values": {str(seed): value for seed, value in one.values.items()},
                }
                for one in self.finalists
            ],
            "best": dict(self.best),
            "toml": self.toml,
            "left": self.num_left,
            "running": self.num_running,
            "new": self.num_new,
        }


def trial_rows(study: TuneStudy) -> tuple[dict[str, Any], ...]:
    """Return one row per trial that stands; a parameter that it does not have is empty."""
    keys = list(dict.fromkeys(key for trial in study.trials() for key in trial.params))
    return tuple(
        {
            "trial": trial.number,
            "value": "" if trial.value is None or trial.state.name != "COMPLETE" else trial.value,
            "state": _STATES[trial.state.name],
            **{key: trial.params.get(key, "") for key in keys},
            "why": _why(trial),
        }
        for trial in study.trials()
    )


def _why(trial: Any) -> str:
    if trial.state.name != "PRUNED":
        return ""
    return str(trial.user_attrs.get(WHY) or f"its process was killed {trial.user_attrs.get(KILLS, 0) + 1} times")


def best_toml(model: str, point: Mapping[str, Any], fusions: tuple[str, ...]) -> str:
    """Return the tables that put a point into the config, the model's own table first."""
    tables: dict[str, dict[str, Any]] = {f"models.{model}": {"fusions": list(fusions)} if fusions else {}}
    for key, value in point.items():
        if key != FUSION:
            room, _, name = key.rpartition(".")
            tables.setdefault(f"models.{model}.{room}", {})[name] = value
    return "\n".join(_table(name, keys) for name, keys in tables.items() if keys)


def _table(name: str, keys: Mapping[str, Any]) -> str:
    # What is drawn is true or false, a number, or a text: JSON writes each as TOML does.
    return "\n".join(
        [f"[{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()), ""]
    )
