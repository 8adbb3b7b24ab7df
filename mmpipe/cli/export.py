"""The verb that writes datasets for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Corpus, DryRun, Features, open_config
from mmpipe.cli.show import print_rows
from mmpipe.errors import ConfigError
from mmpipe.remote import store_path
from mmpipe.types import Split

if TYPE_CHECKING:
    from mmpipe.steps.share.export import ExportPlan


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(export)


def export(
    to: Annotated[str, typer.Option("--to", help="webdataset, parquet, lance or hf.")],
    out: Annotated[str, typer.Option("--out", help="The folder or URL to write; it must be new or empty.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    feature: Features = None,
    snapshot: Annotated[
        str | None, typer.Option(help="A kept snapshot, by name or digest; else what is newest.")
    ] = None,
    split: Annotated[list[Split] | None, typer.Option(help="Only this split; may be given again.")] = None,
    shard_clips: Annotated[int, typer.Option(min=1, help="Clips in a file.")] = 1000,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write features, joined by clip, as WebDataset, Parquet, Lance, or a Hugging Face folder."""
    plan = _plan(to, store_path(out), config, corpus, feature, snapshot, split)
    if dry_run:
        print_rows(plan.table(), as_json, f"would write to {out}")
        return
    from mmpipe.steps.share.export import write_export

    print_rows(write_export(plan, shard_clips), as_json, f"written to {out}")


def _plan(
    to: str,
    out: Path,
    config: Path,
    corpus: str | None,
    features: list[str] | None,
    snapshot: str | None,
    splits: list[Split] | None,
) -> ExportPlan:
    from mmpipe.steps.share.export import Target, plan_export

    if to not in list(Target):
        raise ConfigError(f"--to is one of {', '.join(Target)}, got {to!r}")
    settings, name = open_config(config, corpus)
    return plan_export(settings, name, Target(to), out, features, snapshot, splits)
