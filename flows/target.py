"""What a run is about: its config, its corpus and its date."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect.runtime import flow_run

from flows.parameters import CorpusParameters, DayParameters, FlowParameters
from mmpipe.config import CONFIG_NAME, Config, load_config

CONFIG_VARIABLE = "MMPIPE_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A corpus on a date, under a config."""

    config: Config
    corpus: str
    dt: str


def read_config(parameters: FlowParameters) -> Config:
    """Read the config that the parameters name, else the environment's, else the one at hand."""
    return load_config(Path(parameters.config or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME))


def resolve_target(parameters: DayParameters) -> Target:
    """Return the corpus and date that a run must fill."""
    config, corpus = resolve_corpus(parameters)
    if parameters.date is not None:
        return Target(config=config, corpus=corpus, dt=parameters.date.isoformat())
    return Target(config=config, corpus=corpus, dt=logical_date(flow_run.scheduled_start_time, config.timezone))


def resolve_corpus(parameters: CorpusParameters) -> tuple[Config, str]:
    """Return the config and the corpus that a run is about."""
    config = read_config(parameters)
    return config, config.corpus(parameters.corpus or None)[0]


def logical_date(scheduled: datetime, timezone: str) -> str:
    """Return the date of a scheduled time in the schedule's zone: a late run keeps its date."""
    return scheduled.astimezone(ZoneInfo(timezone)).date().isoformat()
