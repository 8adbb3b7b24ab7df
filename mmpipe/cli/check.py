"""The verbs that check: the store, the machine, raw files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Corpus,
    DryRun,
    open_config,
)
from mmpipe.cli.show import plain, print_rows, print_text
from mmpipe.config import load_config
from mmpipe.errors import ConfigError, StoreError


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(verify)
    app.command()(probe)
    app.command()(doctor)


def verify(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    repair: Annotated[bool, typer.Option("--repair", help="Then mend what can be mended, and check again.")] = False,
    source: Annotated[Path | None, typer.Option("--from", help="With --repair: a copy of the store.")] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="With --repair: give up revisions and tables that are gone for good.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check every committed byte, and mend it (exit 1: something is damaged)."""
    from dataclasses import asdict

    from mmpipe.steps.keep.repair import repair_store
    from mmpipe.steps.keep.verify import check_store, count_damage, find_faults, name_redacted, open_to_verify
    from mmpipe.store.layout import open_store

    if (source or dry_run or accept_loss) and not repair:
        raise ConfigError("--from, --accept-loss and --dry-run go with --repair: without it nothing is ever changed")
    settings = load_config(config)
    layout = open_to_verify(settings)
    if repair:
        copy = open_store(source) if source else None
        for step in repair_store(settings, layout, corpus, copy, dry_run, accept_loss):
            action = f"would be {step.action}" if dry_run else step.action
            typer.echo(plain(f"{action}: {step.path}" + (f": {step.detail}" if step.detail else "")), err=True)
    # A dry run changes nothing, not even a statistic.
    findings = find_faults(layout, corpus) if dry_run else check_store(settings, layout, corpus)
    if as_json or not findings:
        print_rows([asdict(finding) for finding in findings], as_json, "damage")
    for finding in () if as_json else findings:
        print_text(f"{finding.severity} {finding.code} {finding.path}: {finding.detail}\n    {finding.way_out}")
    for line in () if as_json or corpus else name_redacted(layout):
        print_text(f"{line}: something was forgotten out of it, and its sums were made anew")
    if damage := count_damage(findings):
        raise StoreError(f"{damage} place(s) of the store are not what they should be; each has its way out")


def probe(
    files: Annotated[list[str], typer.Argument(help="Files, rows, sources or clips, as the quarantine calls them.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Say what raw files are, or why they cannot be used: looked at now, as an ingest does, and nothing is kept."""
    from mmpipe.steps.quarantine.probe_again import probe_again

    settings, name = open_config(config, corpus)
    print_rows(probe_again(settings, name, files), as_json, "files")


def doctor(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check this machine and config (exit 3: something is wrong)."""
    from mmpipe.steps.tell.doctor import examine

    rows = examine(config)
    print_rows(rows, as_json, "doctor")
    if any(row["state"] == "wrong" for row in rows):
        raise typer.Exit(3)
