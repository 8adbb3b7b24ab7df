"""The verb that searches for better settings of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, DryRun, Model, SnapshotRef
from mmpipe.cli.show import Bars, print_json, print_notes, print_rows, print_text
from mmpipe.config import load_config
from mmpipe.words import counted

if TYPE_CHECKING:
    from mmpipe.steps.train.tune_report import TuneReport

Trials = Annotated[int, typer.Option(min=1, help="How many the search comes to in all; those that are done count.")]
Timeout = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Begin no trial after so many seconds; none: no limit.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(tune)


def tune(
    config: ConfigPath = DEFAULT_CONFIG,
    model: Model = None,
    trials: Trials = 50,
    timeout: Timeout = None,
    snapshot: SnapshotRef = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Search for better settings of a model by its validation clips; killed, it goes on where it was."""
    from mmpipe.steps.train.training_set import pin_snapshot
    from mmpipe.steps.train.tune import look_at_search, tune_model

    settings = load_config(config)
    name, _ = settings.model(model)
    settings = pin_snapshot(settings, name, snapshot)
    if dry_run:
        found = look_at_search(settings, name, trials)
        _print_plan(found, as_json)
        return
    with Bars() as bars:
        found = tune_model(settings, name, trials, timeout, bars)
    if as_json:
        print_json(found.as_json())
        return
    print_rows([_short(row) for row in found.trials], False, f"trials of {name}")
    _print_end(found)


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row under names that leave a terminal room: `learning_rate`, `lmf.rank`."""
    return {name.removeprefix("train.").removeprefix("fusion_options."): value for name, value in row.items()}


def _print_plan(found: TuneReport, as_json: bool) -> None:
    if as_json:
        print_json(found.as_json())
        return
    print_rows([axis.row() for axis in found.axes], False, f"what a search of {found.model} tries")
    print_text(f"{counted(len(found.trials), 'trial')} there, {found.num_left} to do: {found.folder}")


def _print_end(found: TuneReport) -> None:
    if found.finalists:
        print_rows(found.finalist_rows(), False, "the best, trained again")
    print_notes([found.summary()])
    if found.toml:
        print_text("The best settings; put them into those tables of the config, then: mmpipe train\n")
        print_text(found.toml.rstrip())
