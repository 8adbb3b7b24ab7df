"""The verbs on noise banks: how they stand, and a new one on demand."""

from __future__ import annotations

from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Corpus, DryRun, open_config
from mmpipe.cli.show import print_rows


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="Noise banks, frozen from train clips.", name="bank")
    group.command()(ls)
    group.command()(make)
    app.add_typer(group)


def ls(config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """List the banks of a corpus: made or not, of how many clips, and their digests."""
    from mmpipe.steps.ingest.banks import bank_states

    settings, chosen = open_config(config, corpus)
    print_rows([state.row() for state in bank_states(settings, chosen)], as_json, f"banks of {chosen}")


def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A bank of the corpus.")],
    remake: Annotated[bool, typer.Option("--remake", help="Draw a new one, though there is one.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Make a bank now; one that is there stays, and with a new one the features that are mixed with it are due."""
    from mmpipe.steps.ingest.banks import bank_state, make_bank

    settings, chosen = open_config(config, corpus)
    state = bank_state(settings, chosen, name)
    if not dry_run:
        make_bank(settings, chosen, name, again=remake)
        state = bank_state(settings, chosen, name)
    would = "stays" if state.sha256 and not remake else "would be made"
    print_rows([state.row()], as_json, would if dry_run else "bank")
