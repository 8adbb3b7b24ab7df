"""The flow run as the parent of the library's stages in their lineage: plain values go down, and no more of Prefect.

A run that another has started carries the first of them all as labels, so that the root of its lineage is that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext

from mmpipe.steps.ground.watching import OuterRun, inside_run

ROOT_RUN_LABEL, ROOT_JOB_LABEL = "mmpipe.root-run", "mmpipe.root-job"


@contextmanager
def below_flow_run() -> Iterator[None]:
    """Let the stages of the block, and of the tasks that it starts, name the flow run in progress as their parent."""
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow_run is None:
        yield
        return
    with inside_run(str(context.flow_run.id), context.flow.name, root_in(context.flow_run.labels)):
        yield


def root_in(labels: Mapping[str, Any]) -> OuterRun | None:
    """Return the run that began it all, as the labels of a child name it."""
    run_id, job = labels.get(ROOT_RUN_LABEL), labels.get(ROOT_JOB_LABEL)
    return OuterRun(run_id=str(run_id), job=str(job)) if run_id and job else None


def root_labels(run_id: str, job: str, labels: Mapping[str, Any]) -> dict[str, str]:
    """Return what the children of a run carry: the root that it carries itself, else it is the root."""
    root = root_in(labels) or OuterRun(run_id=run_id, job=job)
    return {ROOT_RUN_LABEL: root.run_id, ROOT_JOB_LABEL: root.job}
