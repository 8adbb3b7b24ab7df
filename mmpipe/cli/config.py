"""The verb that tells every key of the config."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mmpipe.cli.options import AsJson
from mmpipe.cli.show import print_json, print_rows, print_text
from mmpipe.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("config")(keys)


def keys(
    below: Annotated[str, typer.Argument(metavar="KEY", help="Only what begins so, as `corpora.limits`.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every key of the config: type, default, limits, meaning."""
    from mmpipe.steps.tell.config_keys import find_keys

    found = [asdict(key) for key in find_keys(below)]
    if not found:
        raise ConfigError(f"no key begins with {below!r}. All of them: mmpipe config")
    if as_json:
        print_json(found)
        return
    for row in found:
        row["default"] = "(required)" if row.pop("required") else row["default"]
    print_rows(found, False, f"keys below {below}" if below else "keys of mmpipe.toml")
    print_text("The environment outdoes the file: MMPIPE_ENGINE__WORKERS=4, two underscores for each dot.")
