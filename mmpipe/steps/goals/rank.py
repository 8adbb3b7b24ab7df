"""Who likes a clip: a column with lists of users."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig, RankOptions
from mmpipe.evaluate.answers.scores import ScoreAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.listed import read_lists

MOST_TOLD = 10  # users of one file


class RankSteps:
    """Users are all who like some clip, sorted; a clip is liked or not."""

    goal = Goal.RANK
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return who likes each clip."""
        options = RankOptions(**model.goal_options)
        return read_lists(model, spine, options.separator, options.none, "users")

    def answers(self, said: Said) -> ScoreAnswers:
        """Return each user's list of the clips that were asked about together."""
        return ScoreAnswers.found(said.keys, said.groups, said.names, said.targets_N, said.answers_N)

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return one score for every clip: everything ties, and counts against it."""
        return targets_N.mean(axis=0)

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it ranks clips for users."""
        return GoalWords(
            aim=f"ranking of clips by {target}",
            says=f"Scores how much each of {len(names)} users of {target} would like it,",
            named="Users",
            always="It knows nothing of users that it did not learn from.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the users with the highest scores, and the scores of all."""
        first = np.argsort(-answer, kind="stable")[:MOST_TOLD]
        return {
            "users": ", ".join(names[user] for user in first),
            "scores": dict(zip(names, answer.tolist(), strict=True)),
        }
