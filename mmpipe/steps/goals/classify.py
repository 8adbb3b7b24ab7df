"""One of several classes: the values of a labels column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import labelled_rows


class ClassifySteps:
    """Classes are the different values, sorted."""

    goal = Goal.CLASSIFY
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return class indices."""
        rows_N, values = labelled_rows(model, spine)
        classes = tuple(sorted(set(values)))
        if len(classes) < 2:
            raise ConfigError(
                f"the target {model.target!r} has one class only ({classes[0]!r}, {len(values)} clips): nothing to "
                "tell apart. Choose another `target`, or label more."
            )
        number = {name: place for place, name in enumerate(classes)}
        labels_N = np.array([number[value] for value in values], dtype=np.int64)
        return Targets(rows_N=rows_N, values_N=labels_N, names=classes, told=tuple(values))

    def answers(self, said: Said) -> ClassAnswers:
        """Return probabilities beside the true classes."""
        return ClassAnswers(
            keys=said.keys,
            groups=said.groups,
            labels_N=said.targets_N,
            probabilities_NK=said.answers_N,
            classes=said.names,
        )

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the most frequent class as a probability of 1."""
        return np.eye(len(names))[np.bincount(targets_N, minlength=len(names)).argmax()]

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it names a class."""
        return GoalWords(
            aim=f"classification of {target}",
            says=f"Names one of {len(names)} classes of {target}",
            named="Classes",
            always="It always answers with one of its classes, also for clips that belong to none of them.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the most probable class and the probabilities of all."""
        best = int(answer.argmax())
        return {
            "label": names[best],
            "probability": float(answer[best]),
            "probabilities": dict(zip(names, answer.tolist(), strict=True)),
        }
