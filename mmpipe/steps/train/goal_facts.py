"""What a goal says of itself: what a network answers, by what it is measured, and what can be chosen."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass

from mmpipe.config import GOAL_OPTIONS, Goal
from mmpipe.config.keys import NAME, ConfigKey, list_keys
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.registry import answers_class


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalFacts:
    """A goal as the docstrings of its files have it."""

    name: str
    about: str  # a sentence
    details: tuple[str, ...]  # paragraphs: formula and source
    measure: str  # that the gate compares by; more is better
    compared_with: str  # the answers without any network
    options: tuple[ConfigKey, ...]


def list_goals() -> tuple[GoalFacts, ...]:
    """Return the facts of every goal."""
    return tuple(goal_facts(goal.value) for goal in Goal)


def goal_facts(name: str) -> GoalFacts:
    """Return the facts of a goal; raise ConfigError that lists the names."""
    from mmpipe.fusion.goals.registry import goal_part

    known = [goal.value for goal in Goal]
    if name not in known:
        raise ConfigError(f"no goal named {name!r}; valid names are: {', '.join(known)}")
    goal = Goal(name)
    part, answers = goal_part(goal), answers_class(goal)
    paragraphs = inspect.cleandoc(vars(part)["__doc__"] or "").split("\n\n")
    return GoalFacts(
        name=name,
        about=(sys.modules[part.__module__].__doc__ or "").partition("\n")[0],
        details=tuple(" ".join(part.split()) for part in paragraphs),
        measure=answers.measure,
        compared_with=answers.constant_name,
        options=tuple(list_keys(GOAL_OPTIONS[goal], f"models.{NAME}.goal_options")),
    )
