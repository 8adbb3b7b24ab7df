"""The verb that shows the store in a browser."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath
from mmpipe.cli.show import print_json, print_text
from mmpipe.config import load_config


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="app")(show_app)


def show_app(
    config: ConfigPath = DEFAULT_CONFIG,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any port that is free.")] = 0,
    password_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask for the password that the environment has under this name.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the store in a browser: corpora, dates, quarantine, samples, models. It only reads; Ctrl-C ends it."""
    from mmpipe.app.access import access_for
    from mmpipe.app.routes import make_app
    from mmpipe.app.server import address_of, listen, serve
    from mmpipe.steps.app.store_site import StoreSite

    load_config(config)  # what is wrong with it is told before anybody listens
    access = access_for(host, password_env)
    with listen(host, port) as listening, StoreSite(lambda: load_config(config)) as site:
        address = address_of(listening)

        def tell() -> None:
            print_json({"address": address}) if as_json else print_text(f"The store is shown at {address}")
            sys.stdout.flush()
            if not no_open and sys.stdout.isatty():
                webbrowser.open(address)

        try:
            serve(make_app(site, access), listening, tell)
        except KeyboardInterrupt:
            return
