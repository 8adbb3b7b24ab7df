"""The name of a flow run: which flow, on what, for which date."""

from __future__ import annotations

from typing import Any

from prefect.runtime import flow_run

from flows.parameters import (
    BackfillDayParameters,
    BackfillParameters,
    CorpusParameters,
    DayParameters,
    ExtractParameters,
    FlowParameters,
    FreshnessParameters,
    GcParameters,
    TrainParameters,
    VerifyParameters,
)
from flows.target import logical_date, read_config, resolve_corpus, resolve_target
from mmpipe.errors import ConfigError


def run_name() -> str:
    """Name the run in progress; a config that cannot be read is the run's error to raise, not its name's."""
    parameters = flow_run.parameters["parameters"]
    try:
        subject = subject_of(parameters)
    except ConfigError:
        subject = "no-config"
    return f"{flow_run.flow_name}-{subject}"


def subject_of(parameters: FlowParameters | dict[str, Any]) -> str:
    """Return the corpus or model, and the date or dates, that the parameters ask for."""
    if isinstance(parameters, BackfillParameters):
        dry = "-dry" if parameters.dry_run else ""
        return f"{resolve_corpus(parameters)[1]}-{parameters.first_date}..{parameters.last_date}{dry}"
    if isinstance(parameters, BackfillDayParameters):
        return f"{resolve_corpus(parameters)[1]}-{parameters.date}"
    if isinstance(parameters, DayParameters):
        target = resolve_target(parameters)
        all_dates = "-all-dates" if isinstance(parameters, ExtractParameters) and parameters.all_dates else ""
        return f"{target.corpus}-{target.dt}{all_dates}"
    if isinstance(parameters, CorpusParameters):
        return resolve_corpus(parameters)[1]
    if isinstance(parameters, TrainParameters):
        config = read_config(parameters)
        model, _ = config.model(parameters.model or None)
        return f"{model}-{_date_of(parameters)}"
    if isinstance(parameters, FreshnessParameters):
        return parameters.corpus or "all"
    if isinstance(parameters, VerifyParameters):
        return f"{parameters.corpus or 'store'}-{_date_of(parameters)}" + ("-repair" if parameters.repair else "")
    if isinstance(parameters, GcParameters):
        return f"{_date_of(parameters)}" + ("-delete" if parameters.delete else "")
    return "unknown"


def _date_of(parameters: FlowParameters) -> str:
    return logical_date(flow_run.scheduled_start_time, read_config(parameters).timezone)
