"""The group of all verbs: it knows their names from a table, and imports a verb's file when that verb is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from mmpipe.cli.verbs import VERBS, Verb

_WIDE = 120  # columns from which on the overview has room for an example of each verb
_ABOUT_WIDTH = max(len(verb.about) for verb in VERBS) + 2


class LazyGroup(TyperGroup):
    """The verbs of the table, in its order."""

    def __init__(self, **options: Any) -> None:
        """Take the table's verbs; there are no others."""
        super().__init__(**options)
        self.commands = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, without importing anything."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print a line for each verb, by panel."""
        self._overview().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the verbs and options that begin so."""
        ctx.command = self._overview()  # which it asks for the verbs
        try:
            return list(ctx.command.shell_complete(ctx, incomplete))
        finally:
            ctx.command = self

    def _overview(self) -> TyperGroup:
        """Return a group that looks like this one, of verbs that do nothing."""
        lines: dict[str, Any] = {
            verb.name: TyperCommand(verb.name, help=_line(verb), rich_help_panel=verb.panel) for verb in VERBS
        }
        return TyperGroup(
            name=self.name,
            commands=lines,
            params=self.params,
            help=self.help,
            epilog=self.epilog,
            rich_markup_mode=self.rich_markup_mode,
        )


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each made when it is first looked up."""

    def __init__(self) -> None:
        self._verbs = {verb.name: verb for verb in VERBS}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _load(self._verbs[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError(f"{name} is not in the table: put it into mmpipe/cli/verbs.py")

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} stays: take it out of mmpipe/cli/verbs.py")

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)


def _line(verb: Verb) -> str:
    if shutil.get_terminal_size().columns < _WIDE:
        return verb.about
    return f"{verb.about:<{_ABOUT_WIDTH}}[dim]mmpipe {verb.examples[0]}[/dim]"


def _load(verb: Verb) -> Any:
    """Return the command of a verb, with examples below its help."""
    room = typer.Typer(add_completion=False)
    room.callback()(_nothing)  # so that it is a group, even of one verb
    import_module(f"mmpipe.cli.{verb.room}").register(room)
    command = typer.main.get_group(room).commands[verb.name]
    for words, leaf in leaves_of(command, (verb.name,)):
        told = [example for example in verb.examples if tuple(example.split()[: len(words)]) == words]
        leaf.epilog = "\n\n".join(f"Example: mmpipe {example}" for example in told)
    return command


def leaves_of(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb below a command that does something, with the words that name it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name in below:
        yield from leaves_of(below[name], (*words, name))


def _nothing() -> None:
    """Stand before the verbs of one file."""
