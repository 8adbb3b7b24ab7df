"""The verbs on the quarantine: what could not be used and why, another try, and letting in what a policy refused."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Corpus,
    DryRun,
    OnlyDate,
    Reason,
    open_config,
)
from mmpipe.cli.show import Bars, print_json, print_notes, print_rows, print_text


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="What could not be used, and why.", name="quarantine")
    group.command(name="ls")(quarantine_ls)
    group.command(name="show")(quarantine_show)
    group.command(name="retry")(quarantine_retry)
    group.command(name="release")(quarantine_release)
    app.add_typer(group)


def quarantine_ls(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: OnlyDate = None,
    released: Annotated[bool, typer.Option("--released", help="What was let in by hand instead, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count what is in quarantine by stage and reason, and what of it was released before: in vain, or taken back."""
    import polars as pl

    from mmpipe.steps.quarantine.released import released_before
    from mmpipe.store.layout import open_store
    from mmpipe.store.quarantine import read_quarantine

    settings, name = open_config(config, corpus)
    layout = open_store(settings.store)
    if released:
        print_rows(_released_rows(layout, name, dt), as_json, f"released of {name}")
        return
    rows = read_quarantine(layout, name, (dt,) if dt else None)
    rows = rows.with_columns(released_before(layout, name, rows).alias("before"))
    names = (pl.when(pl.col(name) != "").then(name) for name in ("file", "clip_key", "source_id"))
    example = pl.coalesce(*names)
    counts = (
        rows.group_by("partition", "stage", "code")
        .agg(
            pl.len().alias("count"),
            pl.col("before").sum().alias("released before"),
            example.sort().first().alias("example"),
        )
        .sort("partition", "stage", "code")
    )
    print_rows(counts.to_dicts(), as_json, f"quarantine of {name}")


def quarantine_show(
    context: typer.Context,
    code: Annotated[str | None, typer.Argument(help="One reason; none: all.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows of the quarantine, with what was seen and the command that tries each again."""
    from mmpipe.steps.quarantine.released import released_before
    from mmpipe.store.layout import open_store
    from mmpipe.store.quarantine import read_quarantine

    settings, name = open_config(config, corpus)
    layout = open_store(settings.store)
    every = read_quarantine(layout, name)
    every = every.with_columns(released_before=released_before(layout, name, every))
    rows = [row for row in every.to_dicts() if code in (None, row["code"])]
    rows = [row | {"replay": _pasted(context, row["replay"], config)} for row in rows]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_text(f"quarantine of {name}: nothing" + (f" for {code!r}" if code else ""))
    for row in rows:
        kept = " (in use all the same)" if row["kept"] else ""
        print_text(
            f"{row['partition']} {row['stage']} {row['code']}{kept}: "
            f"{row['file'] or row['clip_key'] or row['source_id']}"
        )
        print_text(f"    {row['detail']}")
        if row["facts"]:
            print_text(f"    seen: {row['facts']}")
        if row["released_before"]:
            print_text("    released before: that let nothing in, or was taken back (mmpipe audit tells why)")
        if row["attempts"] > 1:
            print_text(f"    tried {row['attempts']} times")
        print_text(f"    again: {row['replay']}")


def quarantine_retry(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    code: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    file: Annotated[str | None, typer.Option(help="Only this file, by its corpus-relative name.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="Only what fell out here: list, probe, decode, extract, ...")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try what is in quarantine again, whatever is known of it (exit 5: too much is still there)."""
    from mmpipe.steps.quarantine.retry import retry_quarantined

    settings, name = open_config(config, corpus)
    with Bars() as bars:
        made = retry_quarantined(settings, name, code=code, file=file, stage=stage, dry_run=dry_run, progress=bars)
    print_rows(made.table(), as_json, f"tried again of {name}")


def quarantine_release(
    which: Annotated[str, typer.Argument(metavar="CODE|FILE", help="A reason, a file or a clip key.")],
    reason: Reason,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take a release back.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let in what a limit, a filter or the search for near twins refused, or what decodes of damaged media.

    It holds for these bytes on every later night. With --undo they are judged again at once: what is refused is back in
    quarantine, and its clips are superseded, so that no later snapshot holds them; those taken before stay as they are.
    """
    from mmpipe.steps.quarantine.release_quarantine import release_quarantined, take_back_release
    from mmpipe.steps.quarantine.released import list_still_used
    from mmpipe.store.layout import open_store

    settings, name = open_config(config, corpus)
    act = take_back_release if undo else release_quarantined
    with Bars() as bars:
        made = act(settings, name, which, reason, dry_run=dry_run, progress=bars)
    done = "taken back" if undo else "released"
    title = "would be taken back" if undo else "would be tried"
    print_rows([entry.row() for entry in made if not entry.left], as_json, title if dry_run else done)
    print_notes(f"left: {entry.what!r} ({entry.code}): {entry.left}" for entry in made if entry.left)
    if undo and not dry_run:
        for file in list_still_used(open_store(settings.store), name, made):
            typer.echo(
                f"{file!r} stays in use: nothing refuses it now, or it is gone from the corpus's folder and nobody can "
                "judge it. `mmpipe forget` takes it out.",
                err=True,
            )


def _pasted(context: typer.Context, command: str, config: Path) -> str:
    """Return a command as it works in the shell that asked: with the config that was named there by hand."""
    source = context.get_parameter_source("config")
    if source is None or source.name != "COMMANDLINE":
        return command
    words = shlex.split(command)
    place = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    return shlex.join([*words[:place], "--config", str(config), *words[place:]])


def _released_rows(layout: Any, corpus: str, dt: str | None) -> list[dict[str, Any]]:
    from mmpipe.steps.quarantine.released import list_released, reasons_of

    reasons = reasons_of(layout, corpus)
    return [
        {**entry.row(), "reason": reasons.get((entry.code, entry.thing), "")}
        for entry in list_released(layout, corpus)
        if dt in (None, entry.partition)
    ]
