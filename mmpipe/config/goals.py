"""What a model is to say of a clip, and what can be chosen about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from mmpipe.config.generating import GenerateOptions
from mmpipe.config.listing import MultilabelOptions, RankOptions
from mmpipe.config.retrieving import RetrieveOptions
from mmpipe.config.table import Table
from mmpipe.config.tagging import TagOptions

# What a goal takes: its own table below says which, and checks them.
GoalOptions = Mapping[str, bool | int | float | str | tuple[str, ...] | tuple[float, ...]]


class Goal(StrEnum):
    """What a model is to say of a clip."""

    CLASSIFY = "classify"  # one of several classes
    MULTILABEL = "multilabel"  # any of several labels
    REGRESS = "regress"  # one or more numbers
    RETRIEVE = "retrieve"  # which clip of another modality belongs to it
    TAG = "tag"  # a tag for every word of its text
    ANOMALY = "anomaly"  # how unlike the normal ones it is
    RANK = "rank"  # who likes it
    GENERATE = "generate"  # a text


class Likelihood(StrEnum):
    """What a network says of how sure it is of its numbers."""

    POINT = "point"  # nothing: squared error
    DIAGONAL = "diagonal"  # a deviation of each number
    FULL = "full"  # a covariance of all numbers


class OverTime(StrEnum):
    """What moments of a clip come to."""

    MEAN = "mean"
    MAX = "max"


class NoOptions(Table):
    """A goal with nothing to choose."""


class RegressOptions(Table):
    """What can be chosen where the answer is numbers."""

    also: tuple[str, ...] = Field((), description="more columns of the labels table, whose numbers are answered too")
    likelihood: Likelihood = Field(
        Likelihood.POINT, description="point: squared error; diagonal, full: a normal distribution with its covariance"
    )


class AnomalyOptions(Table):
    """What can be chosen where the answer is how unlike the normal clips one is."""

    normal: str = Field("normal", description="what the target's column says of a normal clip; all else is anomalous")
    bottleneck: int = Field(8, ge=1, description="numbers that a clip is squeezed into before its inputs are made anew")
    over_time: OverTime = Field(OverTime.MEAN, description="mean: the whole clip counts; max: its strangest moment")


GOAL_OPTIONS: dict[Goal, type[Table]] = {
    Goal.ANOMALY: AnomalyOptions,
    Goal.CLASSIFY: NoOptions,
    Goal.GENERATE: GenerateOptions,
    Goal.MULTILABEL: MultilabelOptions,
    Goal.RANK: RankOptions,
    Goal.REGRESS: RegressOptions,
    Goal.RETRIEVE: RetrieveOptions,
    Goal.TAG: TagOptions,
}
