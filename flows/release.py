"""Release as a flow of its own, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import ReleaseParameters
from flows.target import read_config
from tasks.artifacts import run_page
from tasks.release import ReleaseReport, release_model


@flow(name="release", flow_run_name=run_name, persist_result=False)
def release(parameters: ReleaseParameters) -> State[Any]:
    """Evaluate a checkpoint and publish it with the gate's verdict."""
    refuse_endless_starts()
    config = read_config(parameters)
    model, _ = config.model(parameters.model or None)
    with run_page("release", model) as page:
        report = release_model(config, model, parameters.checkpoint)
        page.add("release", report)
    return end_of_releases([report])


def end_of_releases(releases: Sequence[ReleaseReport]) -> State[Any]:
    """Complete, also where the gate refused: a correct answer pages nobody."""
    by_status: dict[str, list[str]] = {}
    for report in releases:
        by_status.setdefault(report.status, []).append(f"{report.model}@{report.version}")
    # The refused ones first: they are what a person looks for.
    parts = [f"{status}: {', '.join(by_status[status])}" for status in sorted(by_status, reverse=True)]
    return Completed(message="; ".join(parts) or "no model to train")
