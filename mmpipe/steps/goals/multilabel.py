"""Any of several labels: a column with lists of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig, MultilabelOptions
from mmpipe.evaluate.answers.labels import THRESHOLD, LabelAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.listed import read_lists


class MultilabelSteps:
    """Labels are all that some clip has, sorted."""

    goal = Goal.MULTILABEL
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return which labels each clip has."""
        options = MultilabelOptions(**model.goal_options)
        return read_lists(model, spine, options.separator, options.none, "labels")

    def answers(self, said: Said) -> LabelAnswers:
        """Return probabilities beside the true labels."""
        return LabelAnswers(
            keys=said.keys,
            groups=said.groups,
            truth_NK=said.targets_N > 0,
            probabilities_NK=said.answers_N,
            classes=said.names,
        )

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return how frequent each label is."""
        return targets_N.mean(axis=0)

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it gives labels."""
        return GoalWords(
            aim=f"multilabel classification of {target}",
            says=f"Gives any of {len(names)} labels of {target}, each from a probability of {THRESHOLD} on,",
            named="Labels",
            always="It knows no label beside these.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the labels that are given, and the probabilities of all."""
        given = [name for name, chance in zip(names, answer.tolist(), strict=True) if chance >= THRESHOLD]
        return {"labels": ", ".join(given), "probabilities": dict(zip(names, answer.tolist(), strict=True))}
