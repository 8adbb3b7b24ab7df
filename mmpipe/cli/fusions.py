"""The verb that tells every fusion."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpipe.cli.options import AsJson
from mmpipe.cli.show import print_json, print_rows, print_text

if TYPE_CHECKING:
    from mmpipe.fusion.facts import FusionFacts


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fusions")(fusions)


def fusions(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one, with its options.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every fusion: formula, source, options with their defaults, when to use it."""
    from mmpipe.fusion.facts import fusion_facts, list_fusions

    found = (fusion_facts(name),) if name else list_fusions()
    if as_json:
        print_json([asdict(facts) for facts in found])
    elif name:
        _print_one(found[0])
    else:
        print_rows([_row(facts) for facts in found], False, "fusions")
        print_text("One of them, with what its options mean: mmpipe fusions NAME")


def _row(facts: FusionFacts) -> dict[str, Any]:
    return {
        "fusion": facts.name,
        "formula": facts.formula,
        "source": "; ".join(facts.sources),
        "options": ", ".join(f"{key.key.rpartition('.')[2]} = {key.default}" for key in facts.options),
        "use": facts.use.removeprefix("Use it "),
    }


def _print_one(facts: FusionFacts) -> None:
    for text in (f"{facts.name}: {facts.about}", facts.formula, *facts.details, facts.use):
        print_text(f"{text}\n" if text else "")
    rows = [{name: value for name, value in asdict(key).items() if name != "required"} for key in facts.options]
    print_rows(rows, False, "options")
