"""The verbs on the quarantine: what could not be used, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, LOOKING, AsJson, ConfigPath, Corpus, OnlyDate, open_config
from mmpipe.cli.show import print_json, print_rows, print_text


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="What could not be used, and why.", name="quarantine")
    group.command(name="ls")(quarantine_ls)
    group.command(name="show")(quarantine_show)
    app.add_typer(group, rich_help_panel=LOOKING)


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
