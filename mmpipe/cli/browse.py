"""The verbs that browse: which datasets there are, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Corpus,
    FeatureVersion,
    OnlyDate,
    open_config,
)
from mmpipe.cli.show import plain, print_json, print_rows, print_text
from mmpipe.config import Config, load_config

LONGEST_TEXT = 40  # characters of a clip's text in a table


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(ls)
    app.command()(show)
    app.command()(schema)
    app.command()(sample)


def ls(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the datasets of the store."""
    from mmpipe.steps.tell.inspect import list_datasets

    print_rows(list_datasets(load_config(config)), as_json, "datasets")


def show(
    key: Annotated[str, typer.Argument(help="A clip's key, an asset, or a source id.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a clip: its place, its labels, its values."""
    from mmpipe.steps.tell.inspect import find_clips, why_filtered, why_no_clip

    settings, name = open_config(config, corpus)
    found = find_clips(settings, name, key)
    if as_json:
        print_json(found)
    else:
        for clip in found:
            print_rows([{"field": field, "value": value} for field, value in clip.items()], False)
    filtered = why_filtered(settings, name, key, [clip["asset_id"] for clip in found])
    for line in filtered:
        typer.echo(plain(line), err=True)
    if not found and filtered:
        raise typer.Exit(1)
    if not found:
        why = why_no_clip(settings, name, key)
        where = f": it is in quarantine: {why}" if why else ""
        typer.echo(plain(f"no clip, asset or source {key!r} in {name}{where}"), err=True)
        raise typer.Exit(1)
    if not any(key in (clip["key"], clip["asset_id"], clip["source_id"]) for clip in found):
        kept = ", ".join(sorted({clip["source_id"] for clip in found}))
        typer.echo(plain(f"{key!r} has the same content: kept as {kept}"), err=True)


def schema(
    feature: FeatureVersion, config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False
) -> None:
    """Show what a feature promises: shape, dtype, columns, whose it is, and how far it reaches."""
    from mmpipe.steps.tell.samples import describe_feature

    settings, name = open_config(config, corpus)
    feature = _with_version(settings, name, feature)
    facts = describe_feature(settings, name, feature)
    if as_json:
        print_json(facts)
        return
    columns = facts.pop("columns")
    print_rows([{"field": field, "value": value} for field, value in facts.items()], False)
    print_rows(columns, False, "columns of its Parquet files")


def sample(
    feature: FeatureVersion,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many clips.")] = 5,
    dt: OnlyDate = None,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page instead, on which the clips can be played.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show values of a few clips of the newest date: shape, numbers, labels, text; the same ones every time."""
    from mmpipe.steps.tell.samples import sample_feature

    if html is not None and as_json:
        raise typer.BadParameter("--html writes a page and --json prints values: ask for one at a time")
    settings, name = open_config(config, corpus)
    feature = _with_version(settings, name, feature)
    if html is not None:
        _write_sample_page(settings, name, feature, count, dt, html)
        return
    rows = sample_feature(settings, name, feature, count, dt)
    if not as_json:
        rows = [{**row, "text": _cut(row["text"])} for row in rows]
    print_rows(rows, as_json, f"clips of {feature}")


def _write_sample_page(settings: Config, corpus: str, feature: str, count: int, dt: str | None, path: Path) -> None:
    from mmpipe.steps.shown.samples import MOST_SHOWN, write_sample_page

    if count > MOST_SHOWN:
        raise typer.BadParameter(f"a page shows at most {MOST_SHOWN} clips, asked for were {count}")
    write_sample_page(settings, corpus, feature, count, dt, path)
    print_text(str(path))


def _with_version(settings: Config, corpus: str, feature: str) -> str:
    """Return a feature's name with its version, and say it where it was not asked for by it."""
    from mmpipe.steps.tell.samples import full_name

    found = full_name(settings, corpus, feature)
    if found != feature:
        typer.echo(plain(f"{feature!r} is shown as {found}"), err=True)
    return found


def _cut(text: str) -> str:
    """Return as much of a text as fits into a table."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
