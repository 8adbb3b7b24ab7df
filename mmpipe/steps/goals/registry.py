"""What the steps ask of which goal."""

from __future__ import annotations

from mmpipe.config import Goal
from mmpipe.errors import ConfigError
from mmpipe.steps.goals.anomaly import AnomalySteps
from mmpipe.steps.goals.base import GoalSteps
from mmpipe.steps.goals.classify import ClassifySteps
from mmpipe.steps.goals.generate import GenerateSteps
from mmpipe.steps.goals.multilabel import MultilabelSteps
from mmpipe.steps.goals.rank import RankSteps
from mmpipe.steps.goals.regress import RegressSteps
from mmpipe.steps.goals.retrieve import RetrieveSteps
from mmpipe.steps.goals.tag import TagSteps

STEPS: dict[Goal, GoalSteps] = {
    steps.goal: steps
    for steps in (
        AnomalySteps(),
        ClassifySteps(),
        GenerateSteps(),
        MultilabelSteps(),
        RankSteps(),
        RegressSteps(),
        RetrieveSteps(),
        TagSteps(),
    )
}


def steps_of(goal: Goal) -> GoalSteps:
    """Return what the steps ask of a goal."""
    if goal not in STEPS:
        raise ConfigError(f"the goal {goal.value!r} cannot be trained; those that can: {sorted(STEPS)}")
    return STEPS[goal]
