"""The options that verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpipe.config import CONFIG_NAME, Config, load_config

ConfigPath = Annotated[Path, typer.Option("--config", "-c", envvar="MMPIPE_CONFIG", help="The config file.")]
Corpus = Annotated[str | None, typer.Option(help="Which corpus of the config; the only one if it has one.")]
Model = Annotated[str | None, typer.Option(help="Which model of the config; the only one if it has one.")]
Date = Annotated[str | None, typer.Option("--dt", help="The partition, YYYY-MM-DD; today in the config's time zone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
FirstDate = Annotated[str | None, typer.Option("--from", help="First date, YYYY-MM-DD; the oldest there is.")]
LastDate = Annotated[str | None, typer.Option("--to", help="Last date, YYYY-MM-DD; the newest there is.")]
Features = Annotated[list[str] | None, typer.Option("--feature", help="Only this feature; may be given again.")]

DEFAULT_CONFIG = Path(CONFIG_NAME)


def open_config(path: Path, corpus: str | None) -> tuple[Config, str]:
    """Return the config and the name of the corpus that is meant."""
    config = load_config(path)
    name, _ = config.corpus(corpus)
    return config, name
