"""More answers from one network, learnt together with its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from mmpipe.config.goals import Goal, GoalOptions
from mmpipe.config.table import Table

# Of one vector per clip, so that a linear head on the joint embedding is enough.
JOINT_GOALS = (Goal.CLASSIFY, Goal.MULTILABEL, Goal.REGRESS)


class Weighting(StrEnum):
    """How the losses of several answers come to one."""

    FIXED = "fixed"  # each times its `weight`
    UNCERTAINTY = "uncertainty"  # by how noisy each is, which is learnt (Kendall, Gal, Cipolla 2018)


class AlsoConfig(Table):
    """One more answer of a model's networks, on their joint embedding; the gate judges the model's own alone."""

    goal: Goal = Field(Goal.CLASSIFY, description="classify, multilabel or regress")
    target: str = Field(description="a column of the labels table; a clip without a value does not count")
    goal_options: GoalOptions = Field({}, description="what the goal takes")
    weight: float = Field(1.0, gt=0, description="of its loss beside the model's own, which counts 1")

    @model_validator(mode="after")
    def _one_vector_is_enough(self) -> Self:
        if self.goal not in JOINT_GOALS:
            raise ValueError(f"goal = {self.goal.value!r} cannot be learnt beside another: one of {list(JOINT_GOALS)}")
        return self
