"""Which part of a network a goal is."""

from __future__ import annotations

from mmpipe.config import Goal
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.anomaly import Anomaly
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.goals.classify import Classify
from mmpipe.fusion.goals.generate import Generate
from mmpipe.fusion.goals.multilabel import Multilabel
from mmpipe.fusion.goals.rank import Rank
from mmpipe.fusion.goals.regress import Regress
from mmpipe.fusion.goals.retrieve import Retrieve
from mmpipe.fusion.goals.tag import Tag

PARTS: dict[Goal, type[GoalPart]] = {
    Goal.ANOMALY: Anomaly,
    Goal.CLASSIFY: Classify,
    Goal.GENERATE: Generate,
    Goal.MULTILABEL: Multilabel,
    Goal.RANK: Rank,
    Goal.REGRESS: Regress,
    Goal.RETRIEVE: Retrieve,
    Goal.TAG: Tag,
}


def goal_part(goal: Goal) -> type[GoalPart]:
    """Return the class of a goal's part."""
    if goal not in PARTS:
        raise ConfigError(f"no network answers the goal {goal.value!r}; those that can be trained: {sorted(PARTS)}")
    return PARTS[goal]
