"""The verb that prints what makes a shell complete `mmpipe`, and the answer to a shell that asks."""

from __future__ import annotations

import os
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any

import typer

from mmpipe.cli.show import print_text

VARIABLE = "_MMPIPE_COMPLETE"  # the scripts set it; its value says which shell asks


class Shell(StrEnum):
    """Shells whose completion is known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(completion)


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a script that completes verbs, options, and the names of corpora, features, models and snapshots.

    For bash: mmpipe completion bash > ~/.local/share/bash-completion/completions/mmpipe
    """
    print_text(_shells().get_completion_script(prog_name="mmpipe", complete_var=VARIABLE, shell=shell.value))


def is_asked() -> bool:
    """Say whether a shell asks what may come next."""
    return VARIABLE in os.environ


def answer(app: typer.Typer) -> None:
    """Say what may come next, and end; whatever is wrong, a shell is told nothing."""
    try:
        _shells().completion_init()
        app(prog_name="mmpipe", complete_var=VARIABLE)
    except Exception:  # noqa: BLE001 - a traceback would stand in the middle of the line that a person types
        raise SystemExit(1) from None


def _shells() -> Any:
    """Return Typer's scripts and answers for shells, which it offers by options that write into a person's files."""
    return import_module("typer.completion")
