"""Numbers: one or more columns of the labels table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig, RegressOptions
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.numbers import NumberAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import column_values, require_values


class RegressSteps:
    """Quantities are the target's column and those of `goal_options.also`; a clip needs all of them."""

    goal = Goal.REGRESS
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return the quantities [N, Q]."""
        names = (model.target, *RegressOptions(**model.goal_options).also)
        if len(set(names)) < len(names):
            raise ConfigError(f"the quantities {list(names)} must differ: look at `target` and `goal_options.also`")
        columns = [column_values(spine, name) for name in names]
        rows = [row for row, values in enumerate(zip(*columns, strict=True)) if all(values)]
        require_values(model, spine, " and ".join(names), len(rows))
        values_NQ = np.array(
            [[_number(column[row], name) for column, name in zip(columns, names, strict=True)] for row in rows]
        )
        for place, name in enumerate(names):
            if np.ptp(values_NQ[:, place]) == 0:
                raise ConfigError(f"{name!r} is {values_NQ[0, place]:g} for all {len(rows)} clips: nothing to learn")
        return Targets(
            rows_N=np.array(rows, dtype=np.int64),
            values_N=values_NQ.astype(np.float32),
            names=names,
            told=("",) * len(rows),  # a text that holds a number gives nothing away by that
        )

    def answers(self, said: Said) -> NumberAnswers:
        """Return means and covariances beside the truth."""
        size = len(said.names)
        rest = said.answers_N[:, size:]
        claims = rest.reshape(-1, size, size) if rest.shape[1] else np.full((len(said.keys), size, size), np.nan)
        return NumberAnswers(
            keys=said.keys,
            groups=said.groups,
            truth_NQ=said.targets_N,
            mean_NQ=said.answers_N[:, :size],
            covariance_NQQ=claims,
            classes=said.names,
        )

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the mean of the training clips."""
        return targets_N.mean(axis=0)

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it estimates quantities."""
        return GoalWords(
            aim=f"regression of {', '.join(names)}",
            says=f"Estimates {', '.join(names)}",
            named="Quantities",
            always="It answers with a number also for clips that are unlike all that it learnt from.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return each number, and its deviation where the network says one."""
        size = len(names)
        told: dict[str, object] = dict(zip(names, answer[:size].tolist(), strict=True))
        if len(answer) > size:
            variances_Q = answer[size:].reshape(size, size).diagonal()
            told |= {f"{name} deviation": math.sqrt(v) for name, v in zip(names, variances_Q.tolist(), strict=True)}
        return told


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(
            f"the target {name!r} of goal = 'regress' must be a number, got {text!r}. Correct the labels table, or "
            "choose goal = 'classify'."
        ) from error
    if not math.isfinite(value):
        raise ConfigError(f"the target {name!r} must be a finite number, got {text!r}. Correct the labels table.")
    return value
