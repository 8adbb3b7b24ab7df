"""The verb that tells every goal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpipe.cli.options import AsJson
from mmpipe.cli.show import print_json, print_rows, print_text

if TYPE_CHECKING:
    from mmpipe.steps.train.goal_facts import GoalFacts


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("goals")(goals)


def goals(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one, with its options.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every goal of a model: what it answers, by what it is measured, its options."""
    from mmpipe.steps.train.goal_facts import goal_facts, list_goals

    found = (goal_facts(name),) if name else list_goals()
    if as_json:
        print_json([asdict(facts) for facts in found])
    elif name:
        _print_one(found[0])
    else:
        print_rows([_row(facts) for facts in found], False, "goals")
        print_text("One of them, with what its options mean: mmpipe goals NAME")


def _row(facts: GoalFacts) -> dict[str, Any]:
    return {
        "goal": facts.name,
        "answer": facts.about,
        "measured by": facts.measure,
        "compared with": facts.compared_with,
        "options": ", ".join(f"{key.key.rpartition('.')[2]} = {key.default}" for key in facts.options),
    }


def _print_one(facts: GoalFacts) -> None:
    for text in (f"{facts.name}: {facts.about}", *facts.details):
        print_text(f"{text}\n")
    print_text(f"Measured by {facts.measure}, beside {facts.compared_with}.\n")
    rows = [{name: value for name, value in asdict(key).items() if name != "required"} for key in facts.options]
    print_rows(rows, False, "options")
