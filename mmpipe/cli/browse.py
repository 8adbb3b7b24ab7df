"""The verbs that browse: which datasets there are, and what they hold."""

from __future__ import annotations

from typing import Annotated

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    LOOKING,
    AsJson,
    ConfigPath,
    Corpus,
    open_config,
)
from mmpipe.cli.show import print_json, print_rows
from mmpipe.config import load_config


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel=LOOKING)(ls)
    app.command(rich_help_panel=LOOKING)(show)


def ls(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the datasets of the store."""
    from mmpipe.steps.inspect import list_datasets

    print_rows(list_datasets(load_config(config)), as_json, "datasets")


def show(
    key: Annotated[str, typer.Argument(help="A clip's key, an asset, or a source id.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a clip: its place, its labels, its values."""
    from mmpipe.steps.inspect import find_clips

    settings, name = open_config(config, corpus)
    found = find_clips(settings, name, key)
    if as_json:
        print_json(found)
    else:
        for clip in found:
            print_rows([{"field": field, "value": value} for field, value in clip.items()], False)
    if not found:
        typer.echo(f"no clip, asset or source {key!r} in {name}", err=True)
        raise typer.Exit(1)
