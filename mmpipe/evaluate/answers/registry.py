"""Which kind of answers a goal has."""

from __future__ import annotations

from mmpipe.config import Goal
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.anomalies import AnomalyAnswers
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.answers.labels import LabelAnswers
from mmpipe.evaluate.answers.matches import MatchAnswers
from mmpipe.evaluate.answers.numbers import NumberAnswers
from mmpipe.evaluate.answers.scores import ScoreAnswers
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.evaluate.answers.texts import TextAnswers

KINDS: dict[Goal, type[Answers]] = {
    kind.goal: kind
    for kind in (
        AnomalyAnswers,
        ClassAnswers,
        LabelAnswers,
        MatchAnswers,
        NumberAnswers,
        ScoreAnswers,
        TagAnswers,
        TextAnswers,
    )
}


def answers_class(goal: Goal) -> type[Answers]:
    """Return the class of a goal's answers."""
    if goal not in KINDS:
        raise ConfigError(f"answers of the goal {goal.value!r} cannot be measured; those that can: {sorted(KINDS)}")
    return KINDS[goal]
