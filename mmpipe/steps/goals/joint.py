"""More answers of one network: their targets beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig
from mmpipe.evaluate.answers.base import Answers
from mmpipe.steps.goals.base import Said, Targets
from mmpipe.steps.goals.registry import steps_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlsoTargets:
    """What is true of a training set's clips by another answer."""

    goal: Goal
    names: tuple[str, ...]
    values_N: np.ndarray  # [N, ...] in the goal's own form, of use where `has_N`
    has_N: np.ndarray  # bool

    def packed(self) -> np.ndarray:
        """Return them as float32 [N, C], NaN where a clip has none."""
        flat_NC = self.values_N.reshape(len(self.has_N), -1).astype(np.float32)
        return np.where(self.has_N[:, None], flat_NC, np.float32(np.nan))

    def answers(
        self, rows: np.ndarray, keys: Sequence[str], groups: Sequence[str], answers_N: np.ndarray
    ) -> Answers | None:
        """Return what a network said of some rows, of those that have a target; None where none has."""
        known = np.flatnonzero(self.has_N[rows])
        if not len(known):
            return None
        return steps_of(self.goal).answers(
            Said(
                keys=tuple(keys[row] for row in rows[known]),
                groups=tuple(groups[row] for row in rows[known]),
                targets_N=self.values_N[rows[known]],
                answers_N=answers_N[known],
                names=self.names,
            )
        )


def read_also(model: ModelConfig, spine: pl.DataFrame, targets: Targets) -> Mapping[str, AlsoTargets]:
    """Return the targets of a model's other answers, by the rows of its own."""
    place_of = {row: place for place, row in enumerate(targets.rows_N.tolist())}
    found = {}
    for name, config in model.also.items():
        as_own = model.model_copy(
            update={"goal": config.goal, "target": config.target, "goal_options": config.goal_options, "also": {}}
        )
        read = steps_of(config.goal).read(as_own, spine)
        values_N = np.zeros((len(place_of), *read.values_N.shape[1:]), dtype=read.values_N.dtype)
        has_N = np.zeros(len(place_of), dtype=bool)
        for row, value in zip(read.rows_N.tolist(), read.values_N, strict=True):
            if row in place_of:
                values_N[place_of[row]], has_N[place_of[row]] = value, True
        found[name] = AlsoTargets(goal=config.goal, names=read.names, values_N=values_N, has_N=has_N)
    return found
