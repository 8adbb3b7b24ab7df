"""The verbs that look: what is in the store, in which state, and why not."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, LOOKING, AsJson, ConfigPath, Corpus, OnlyDate, open_config
from mmpipe.cli.show import print_json, print_rows, print_text
from mmpipe.config import load_config
from mmpipe.errors import StoreError


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (ls, show, status, verify, probe, doctor):
        app.command(rich_help_panel=LOOKING)(verb)
    group = typer.Typer(no_args_is_help=True, help="What could not be used, and why.", name="quarantine")
    group.command(name="ls")(quarantine_ls)
    group.command(name="show")(quarantine_show)
    app.add_typer(group, rich_help_panel=LOOKING)


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


def status(config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """Show the state of every partition and feature."""
    from mmpipe.steps.plan import read_states

    settings, name = open_config(config, corpus)
    states = read_states(settings, name)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for state in states:
        row = rows.setdefault(
            (state.partition, state.feature),
            {
                "dt": state.partition,
                "feature": state.feature,
                "clips": 0,
                "values": 0,
                "quarantined": 0,
                "state": Counter(),
            },
        )
        row["clips"] += state.clips
        row["values"] += state.samples
        row["quarantined"] += state.quarantined
        row["state"][str(state.state)] += 1
    for row in rows.values():
        row["state"] = ", ".join(f"{count} {state}" for state, count in sorted(row["state"].items()))
    print_rows(list(rows.values()), as_json, f"{name}: shards by state")


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


def quarantine_ls(
    config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, dt: OnlyDate = None, as_json: AsJson = False
) -> None:
    """Count what is in quarantine by stage and reason."""
    import polars as pl

    from mmpipe.store.layout import open_store
    from mmpipe.store.quarantine import read_quarantine

    settings, name = open_config(config, corpus)
    rows = read_quarantine(open_store(settings.store), name, (dt,) if dt else None)
    counts = (
        rows.group_by("partition", "stage", "code")
        .agg(pl.len().alias("count"), pl.col("file").sort().first().alias("example"))
        .sort("partition", "stage", "code")
    )
    print_rows(counts.to_dicts(), as_json, f"quarantine of {name}")


def quarantine_show(
    code: Annotated[str | None, typer.Argument(help="One reason; none: all.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows of the quarantine, with the command that tries each again."""
    from mmpipe.store.layout import open_store
    from mmpipe.store.quarantine import read_quarantine

    settings, name = open_config(config, corpus)
    rows = [row for row in read_quarantine(open_store(settings.store), name).to_dicts() if code in (None, row["code"])]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_text(f"quarantine of {name}: nothing" + (f" for {code!r}" if code else ""))
    for row in rows:
        print_text(
            f"{row['partition']} {row['stage']} {row['code']}: {row['file'] or row['clip_key'] or row['source_id']}"
        )
        print_text(f"    {row['detail']}")
        print_text(f"    again: {row['replay']}")
