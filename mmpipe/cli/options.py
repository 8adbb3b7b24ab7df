"""The options that verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli import names
from mmpipe.config import CONFIG_NAME, Config, Focus, load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.plan.choices import PATIENCE_S, Only
from mmpipe.store.layout import check_partition

WAIT_MINUTES = PATIENCE_S / 60
DEFAULT_CONFIG = Path(CONFIG_NAME)


def open_config(path: Path, corpus: str | None) -> tuple[Config, str]:
    """Return the config and the name of the corpus that is meant."""
    config = load_config(path)
    name, _ = config.corpus(corpus)
    return config, name


def _check_date(value: str | None) -> str | None:
    """Refuse what is no day of the calendar."""
    try:
        return value and check_partition(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def _date(flag: str, about: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(flag, callback=_check_date, metavar="YYYY-MM-DD", help=about)
    return option


ConfigPath = Annotated[Path, typer.Option("--config", "-c", envvar="MMPIPE_CONFIG", help="The config file.")]
Corpus = Annotated[
    str | None,
    typer.Option(autocompletion=names.corpora, help="Which corpus of the config; the only one if it has one."),
]
Model = Annotated[
    str | None, typer.Option(autocompletion=names.models, help="Which model of the config; the only one if it has one.")
]
Date = Annotated[str | None, _date("--dt", "The partition; today in the config's time zone.")]
OnlyDate = Annotated[str | None, _date("--dt", "Only this partition.")]
FirstDate = Annotated[str | None, _date("--from", "First date; the oldest there is.")]
LastDate = Annotated[str | None, _date("--to", "Last date; the newest there is.")]
FromDate = Annotated[str, _date("--from", "First date.")]
ToDate = Annotated[str, _date("--to", "Last date.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
WhichShards = Annotated[
    Only, typer.Option("--only", help="Which shards: due means missing or stale; all means these and failed.")
]
Anew = Annotated[bool, typer.Option("--force", help="Also what is complete; all is computed, and nothing is copied.")]
FeatureVersion = Annotated[
    str,
    typer.Argument(metavar="NAME[@VERSION]", autocompletion=names.features, help="A feature, as `mmpipe ls` names it."),
]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
Features = Annotated[
    list[str] | None,
    typer.Option("--feature", autocompletion=names.features, help="Only this feature; may be given again."),
]
FocusOn = Annotated[
    Focus | None, typer.Option("--focus", help="weak: go on from the release, and better its weak modality alone.")
]
SnapshotRef = Annotated[
    str | None,
    typer.Option(
        "--snapshot",
        autocompletion=names.snapshots,
        help="Name or digest of the snapshot to learn from; none: as configured.",
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0,
        metavar="MINUTES",
        help="How long to wait in all for what others hold; 0: exit 75 at once.",
    ),
]
