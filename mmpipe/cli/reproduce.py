"""The verb that makes a release again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mmpipe.cli.models import Reference
from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath
from mmpipe.cli.show import Bars, plain, print_json, print_rows, print_text
from mmpipe.config import load_config


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(reproduce)


def reproduce(
    reference: Reference,
    config: ConfigPath = DEFAULT_CONFIG,
    answers: Annotated[
        bool, typer.Option("--answers", help="Also make the fits behind predictions.parquet again.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="How far answers may be apart where the bytes are not equal.")
    ] = 0.02,
    as_json: AsJson = False,
) -> None:
    """Train a release again from its own files and its snapshot, and compare (exit 1: it is not reproduced)."""
    from mmpipe.steps.train.reproduce import Outcome, reproduce_release

    settings = load_config(config)
    with Bars() as bars:
        made = reproduce_release(settings, reference, answers=answers, tolerance=tolerance, progress=bars)
    if as_json:
        print_json(asdict(made))
    else:
        if made.compared:
            print_rows(made.table(), False, "compared")
        print_text(made.summary())
        for line in made.differs:
            print_text(f"differs: {line}")
        for line in made.notes:
            typer.echo(plain(f"# {line}"), err=True)
    if made.outcome is Outcome.NOT_REPRODUCED:
        raise typer.Exit(1)
