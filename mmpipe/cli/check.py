"""The verbs that check: the store, the machine, raw files."""

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
from mmpipe.cli.show import print_rows, print_text
from mmpipe.config import load_config
from mmpipe.errors import StoreError


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel=LOOKING)(verify)
    app.command(rich_help_panel=LOOKING)(probe)
    app.command(rich_help_panel=LOOKING)(doctor)


def verify(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    heal: Annotated[bool, typer.Option(help="First bring views and cards up to the manifests.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every committed byte (exit 1: something is damaged)."""
    from dataclasses import asdict

    from mmpipe.store.layout import open_store
    from mmpipe.store.verify import heal_views, verify_store

    layout = open_store(load_config(config).store)
    if heal:
        typer.echo(f"{heal_views(layout, corpus)} views and cards healed", err=True)
    findings = verify_store(layout, corpus)
    if as_json or not findings:
        print_rows([asdict(finding) for finding in findings], as_json, "damage")
    for finding in () if as_json else findings:
        print_text(f"{finding.code} {finding.path}: {finding.detail}\n    {finding.way_out}")
    if findings:
        raise StoreError(f"{len(findings)} place(s) of the store are not what they should be; each has its way out")


def probe(
    files: Annotated[list[str], typer.Argument(help="Corpus-relative names, as the quarantine shows them.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Say what raw files are, or why they cannot be used."""
    from mmpipe.steps.inspect import probe_again

    settings, name = open_config(config, corpus)
    print_rows(probe_again(settings, name, files), as_json, "files")


def doctor(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check this machine and config (exit 3: something is wrong)."""
    from mmpipe.steps.doctor import examine

    rows = examine(config)
    print_rows(rows, as_json, "doctor")
    if any(row["state"] == "wrong" for row in rows):
        raise typer.Exit(3)
