"""The verb that tells Prometheus how a store is."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, ConfigPath


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(metrics)


def metrics(
    config: ConfigPath = DEFAULT_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Replace this file at once, as node_exporter wants: x.prom.")
    ] = None,
) -> None:
    """Print what there is, what is due and how the nights went, as Prometheus reads it."""
    from mmpipe.config import load_config
    from mmpipe.steps.tell.metrics import render_metrics

    text = render_metrics(load_config(config))
    if output is None:
        typer.echo(text, nl=False)
        return
    # Not a name that ends in .prom: who collects those must never meet half a file.
    temporary = output.with_name(f".{output.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(text, "utf-8")
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
