"""Every goal, as a person or a program asks for it."""

from __future__ import annotations

from mmpipe.config import GOAL_OPTIONS, Goal
from mmpipe.evaluate.answers.registry import KINDS
from mmpipe.fusion.goals.registry import PARTS
from mmpipe.steps.goals.registry import STEPS
from mmpipe.train.goals.registry import OBJECTIVES


def test_every_goal_is_there_from_end_to_end(mmpipe, tmp_path):
    for table in (GOAL_OPTIONS, PARTS, OBJECTIVES, KINDS, STEPS):
        assert set(table) == set(Goal)
    told = {row["name"]: row for row in mmpipe(tmp_path, "goals", "--json").json()}
    assert set(told) == {goal.value for goal in Goal}
    for row in told.values():
        assert row["about"].endswith(".") and row["details"][0] and row["measure"] and row["compared_with"]
    table = mmpipe(tmp_path, "goals").out
    assert all(name in table for name in told)


def test_one_goal_is_told_with_its_options_and_a_wrong_name_with_the_names(mmpipe, tmp_path):
    out = mmpipe(tmp_path, "goals", "regress").out
    assert "likelihood" in out and "Measured by R2" in out
    wrong = mmpipe(tmp_path, "goals", "guess")
    assert wrong.code == 3 and "no goal named 'guess'; valid names are: classify, multilabel" in wrong.err
