"""The verb that writes the first config: it looks at a folder, and asks a person at a terminal what it cannot see."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, DryRun
from mmpipe.cli.show import plain, print_text
from mmpipe.config import CONFIG_NAME, ClipRule
from mmpipe.errors import ConfigError

if TYPE_CHECKING:
    from mmpipe.steps.ingest.init import Proposal


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(init)


def init(
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of raw files or tars, or a table that names files; a terminal is asked.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels table: jsonl, csv or parquet.")] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Take no labels table that lies there.")] = False,
    target: Annotated[str | None, typer.Option(help="Labels column to learn, or `cue`.")] = None,
    clips: Annotated[ClipRule, typer.Option(help="How to cut recordings into clips.")] = ClipRule.WHOLE,
    store: Annotated[Path, typer.Option(help="Folder of the feature store.")] = Path("store"),
    config: Annotated[Path, typer.Option("--config", "-c", help="Where to write it.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option(help="Overwrite a config that is there.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Look at a folder and write a commented config for it; without --corpus a terminal is asked three questions."""
    from mmpipe.steps.ingest.init import propose_config

    if config.exists() and not force and not dry_run:
        raise ConfigError(f"{config} is there already. Use --force to overwrite it, or --config for another name.")
    if labels and no_labels:
        raise typer.BadParameter("it takes no table, and --labels names one: leave out one", param_hint="--no-labels")
    beside = config.resolve().parent
    if corpus is None:
        corpus, labels, target = _ask(labels, no_labels, target, clips)
        no_labels = labels is None
    proposal = propose_config(corpus, labels, target, clips, store, beside, no_labels=no_labels)
    _tell(proposal)
    if dry_run:
        print_text(proposal.toml.rstrip("\n"))
        return
    config.write_text(proposal.toml, encoding="utf-8")
    print_text(f"wrote {config}. Next: mmpipe run" + ("" if config.name == CONFIG_NAME else f" --config {config}"))


def _ask(
    labels: Path | None, no_labels: bool, target: str | None, clips: ClipRule
) -> tuple[Path, Path | None, str | None]:
    """Ask for the folder, its labels and what to learn; what lies there is offered as the answer."""
    from mmpipe.steps.ingest.init import possible_targets

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter("name the folder of raw files (nobody is asked off a terminal)", param_hint="--corpus")
    corpus = Path(_asked("Where are the raw files (a folder, or a table that names files)?", "."))
    chosen = None if no_labels else _ask_labels(labels, corpus)
    targets = possible_targets(corpus, chosen, clips)
    if not targets:
        return corpus, chosen, target
    return corpus, chosen, _asked(f"What is to be learnt: {', '.join(targets)}?", target or targets[0])


def _ask_labels(labels: Path | None, corpus: Path) -> Path | None:
    """Ask for the labels table; one that lies there is offered, and declined by `none`."""
    from mmpipe.steps.ingest.init import guess_labels

    offered = labels or guess_labels(corpus)
    answer = _asked("Which table has their labels (none: everything but training)?", str(offered or "none"))
    return None if answer == "none" else Path(answer)


def _asked(question: str, default: str) -> str:
    return str(typer.prompt(plain(question), default=plain(default), err=True)).strip()


def _tell(proposal: Proposal) -> None:
    """Say what was found and guessed."""
    for note in proposal.notes:
        typer.echo(plain(f"# {note}"), err=True)
