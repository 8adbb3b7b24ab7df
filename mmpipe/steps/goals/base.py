"""What a goal needs of a training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from mmpipe.config import Goal, GoalOptions, ModelConfig
from mmpipe.evaluate.answers.base import Answers
from mmpipe.types import FeatureSchema


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What is true of the clips that have a target; row n of `values_N` is about row `rows_N[n]` of the spine."""

    rows_N: np.ndarray  # int64
    values_N: np.ndarray  # [N, ...], in the goal's own form: of classes int64 indices
    names: tuple[str, ...]  # along an answer's axis: classes, labels, quantities, tags, words
    told: tuple[str, ...]  # each clip's target as text, by which leaks are looked for; "" where it is no text
    left_out: Mapping[str, int] = field(default_factory=dict)  # clips whose target cannot be used, by reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What a network said of some clips, beside what is true of them; row n of every array is about `keys[n]`."""

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    targets_N: np.ndarray
    answers_N: np.ndarray
    names: tuple[str, ...]


class GoalSteps(Protocol):
    """What the steps ask of a goal."""

    goal: Goal
    can_be_shuffled: bool  # a control on shuffled targets says something

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return the targets of a spine's clips; raise ConfigError where there is nothing to learn."""

    def answers(self, said: Said) -> Answers:
        """Return what a network said beside what is true."""

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the answer [...] of one who sees nothing but what the training clips were."""

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say for a card what the model does."""

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return what a network says of one file, as plain values for a person or a table."""


@runtime_checkable
class MatchesRows(Protocol):
    """A goal whose targets must fit the rows of an input."""

    def match_rows(
        self,
        targets: Targets,
        model: ModelConfig,
        schemas: Sequence[FeatureSchema],
        lengths: Callable[[str], np.ndarray],
    ) -> Targets:
        """Return the targets that fit; `lengths` tells the rows of a feature of every clip of the spine."""


@runtime_checkable
class LearnsFromSome(Protocol):
    """A goal whose networks are shown some clips only, and tested on all."""

    def learns_from(self, targets_N: np.ndarray) -> np.ndarray:
        """Return which clips are shown, bool [N]."""


@runtime_checkable
class FindsOptions(Protocol):
    """A goal some of whose options follow from the clips."""

    def options(self, model: ModelConfig, schemas: Sequence[FeatureSchema], targets_N: np.ndarray) -> GoalOptions:
        """Return the options that a network is built with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalWords:
    """What a card says of a goal."""

    aim: str  # "classification of word"
    says: str  # the beginning of a sentence: "Names one of 51 classes of word"
    named: str  # what the names along its answer are: "Classes"
    always: str = ""  # what it says even where it should not
