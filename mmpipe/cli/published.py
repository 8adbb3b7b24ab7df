"""The verb that brings in published research data sets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli.options import AsJson, DryRun
from mmpipe.cli.show import plain, print_json, print_rows, print_text
from mmpipe.external.published.sets import DataSet


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import")(import_)


def import_(
    data_set: Annotated[DataSet, typer.Argument(metavar="SET", help=f"One of {', '.join(DataSet)}.")],
    path: Annotated[Path, typer.Option("--from", help="Their files, on this machine; nothing is downloaded.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write; it must be new or empty.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="conll: the folder of the pictures that sentences name.")
    ] = None,
    words: Annotated[
        int, typer.Option("--words", help="conll: column of the words, from 1, or from the end as -1; 0: found.")
    ] = 0,
    tags: Annotated[int, typer.Option("--tags", help="conll: column of the tags, likewise.")] = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a corpus folder of a published data set: files, labels with the official splits, values, mmpipe.toml."""
    from dataclasses import asdict

    from mmpipe.external.published.sample import Choices
    from mmpipe.steps.ingest.import_published import import_published

    choices = Choices(images=images, words=words, tags=tags)
    report = import_published(data_set, path, out, choices=choices, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
        return
    print_rows(report.table(), False, f"would write to {out}" if dry_run else f"written to {out}")
    if report.left_out and not dry_run:
        typer.echo(plain(f"# what was left out, and why: {out / 'left_out.jsonl'}"), err=True)
    print_text(report.toml)
    print_text("\n".join((f"cd {shlex.quote(str(out))}", *report.commands)))
