"""What a flow run knows of itself: whether a deployment started it, how often, and what ends with it."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.telemetry.run_telemetry import LABELS_TRACEPARENT_KEY

from flows.fan_out import cancel_children
from flows.runs import Runs, ServerRuns
from mmpipe.errors import ShardError
from tasks.lineage import root_labels

MOST_STARTS = 5  # automations start crashed runs again: one that crashes every time must come to an end


def open_runs() -> Runs | None:
    """Return the door to runs beside this one; None where no deployment started it: then it does all by itself."""
    run = own_run()
    if run is None or run.deployment_id is None:
        return None
    labels = root_labels(str(run.id), flow_run.flow_name or "", run.labels)
    if trace := run.labels.get(LABELS_TRACEPARENT_KEY):
        labels[LABELS_TRACEPARENT_KEY] = str(trace)
    return ServerRuns(run.id, labels)


def own_run() -> FlowRun | None:
    """Return the run in progress as the server knows it; None outside of a flow."""
    context = FlowRunContext.get()
    return context.flow_run if context else None


def refuse_endless_starts() -> None:
    """Raise ShardError where this run was started too often: it would be so again, and never end."""
    starts = flow_run.run_count
    if starts > MOST_STARTS:
        raise ShardError(
            f"this run was started {starts} times, allowed are {MOST_STARTS}: it would crash again. "
            "Find out why in its log, cure it, and start a new run: what is done is not done again."
        )


def end_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel what a cancelled run has started. The runner calls it by these names, also where the process is gone."""
    cancel_children(ServerRuns(flow_run.id))
