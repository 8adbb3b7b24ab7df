"""How unlike the normal clips a clip is: a column that says which are normal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mmpipe.config import AnomalyOptions, Goal, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.anomalies import AnomalyAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import labelled_rows


class AnomalySteps:
    """All that is not `goal_options.normal` is anomalous. Networks learn from normal clips; the others test them."""

    goal = Goal.ANOMALY
    can_be_shuffled = False  # a network is told nothing of a clip but that it is normal

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return 1 for anomalous clips."""
        normal = AnomalyOptions(**model.goal_options).normal
        rows_N, values = labelled_rows(model, spine)
        strange_N = np.array([value != normal for value in values], dtype=np.int64)
        if strange_N.min() == strange_N.max():
            what = "anomalous" if strange_N[0] else "normal"
            raise ConfigError(
                f"all {len(values)} clips are {what}: the target {model.target!r} has {sorted(set(values))[:10]}, and "
                f"goal_options.normal is {normal!r}. A test needs some of both."
            )
        return Targets(rows_N=rows_N, values_N=strange_N, names=(), told=("",) * len(rows_N))

    def learns_from(self, targets_N: np.ndarray) -> np.ndarray:
        """Return which clips networks are shown: the normal ones."""
        return targets_N == 0

    def answers(self, said: Said) -> AnomalyAnswers:
        """Return scores beside what is anomalous."""
        return AnomalyAnswers(
            keys=said.keys,
            groups=said.groups,
            anomalous_N=said.targets_N > 0,
            scores_N=said.answers_N,
            classes=said.names,
        )

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return one score for every clip."""
        return np.zeros(())

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it scores strangeness."""
        return GoalWords(
            aim=f"anomaly scoring of {target}",
            says=f"Scores how unlike the normal clips of {target} it is, which it learnt from alone,",
            named="",
            always="A score says how strange a clip is, not whether it matters: set a threshold on clips of your own.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the score."""
        return {"strangeness": float(answer)}
