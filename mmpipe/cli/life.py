"""The verbs on the life of a store: forget, compact, migrate."""

from __future__ import annotations

from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Corpus, DryRun, OnlyDate, open_config
from mmpipe.cli.show import print_json, print_rows, print_text


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (forget, compact, migrate):
        app.command()(verb)


def forget(
    name: Annotated[
        str, typer.Argument(metavar="ASSET|SOURCE_ID", help="An asset's id, or a source with all it held.")
    ],
    reason: Annotated[str, typer.Option(help="The reason, kept in the audit log.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Forget an asset or a source everywhere, pinned or not, and never take it in again."""
    from dataclasses import asdict

    from mmpipe.steps.keep.forget import forget as carry_out

    settings, known = open_config(config, corpus)
    report = carry_out(settings, known, name, reason, dry_run)
    if as_json:
        print_json({**asdict(report), "dry_run": dry_run})
        return
    print_text(("would forget " if dry_run else "") + report.summary())
    if report.holdings:
        print_rows(report.table(), False, "what held it")


def compact(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: OnlyDate = None,
    below: Annotated[
        int | None, typer.Option(min=1, help="Repack from the first shard with fewer clips; half of `shard_clips`.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Repack small shards into full ones; old snapshots keep theirs."""
    from mmpipe.steps.keep.compact import compact_corpus

    settings, known = open_config(config, corpus)
    report = compact_corpus(settings, known, dt, below, dry_run)
    if not as_json:
        print_text(("would: " if dry_run else "") + report.summary())
    if as_json or report.repacks:
        print_rows(report.table(), as_json, "repacked")


def migrate(config: ConfigPath = DEFAULT_CONFIG, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Bring a store of an older layout up to this one, in place; snapshots of before stay readable."""
    from dataclasses import asdict

    from mmpipe.config import load_config
    from mmpipe.steps.keep.migrate import migrate_store

    report = migrate_store(load_config(config), dry_run)
    if as_json:
        print_json({**asdict(report), "dry_run": dry_run})
        return
    print_text(("would be: " if dry_run else "") + report.summary())
    if report.steps:
        print_rows(report.table(), False, "migrated")
