"""The real door to other runs, on a real server."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Crashed, Running, Scheduled

from flows.fan_out import cancel_children
from flows.life import end_children
from flows.parameters import BackfillDayParameters
from flows.runs import Child, ServerRuns, leave_checkpoint
from flows.target import logical_date
from mmpipe.errors import ConfigError
from mmpipe.steps.ground.watching import OuterRun
from tasks.lineage import root_in, root_labels

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
DAY = "2026-11-01"
CHILD = Child(
    subject=DAY,
    deployment="made-day/made-day",
    corpus="tones",
    parameters=BackfillDayParameters(corpus="tones", date=datetime.date(2026, 11, 1)),
)


@flow(name="made-day")
def made_day(parameters: BackfillDayParameters) -> None:
    """Stand for the run of a day."""


@flow(name="made-parent")
def made_parent() -> None:
    """Stand for a backfill."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """A server that knows the deployment of a day; no worker serves it."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="made", type="process"), overwrite=True)
        client.create_deployment(client.create_flow(made_day), "made-day", work_pool_name="made")
        yield client


def test_a_child_is_started_once_where_it_belongs_and_keeps_its_date(client: SyncPrefectClient) -> None:
    parent = client.create_flow_run(made_parent, state=Running())
    runs = ServerRuns(parent.id, root_labels("the first", "nightly", {}))
    first = runs.start(CHILD, 0)
    assert (first.subject, first.number, first.state, first.is_over) == (DAY, 0, "Scheduled", False)
    assert runs.start(CHILD, 0).id == first.id
    second = runs.start(CHILD, 1)
    assert [run.id for run in ServerRuns(parent.id).children()] == [first.id, second.id], "another life finds them"
    assert runs.look([second.id]) == (second,) and runs.look([]) == ()
    assert ServerRuns(client.create_flow_run(made_parent).id).children() == ()
    made = client.read_flow_run(UUID(first.id))
    assert (made.work_queue_name, made.parameters["parameters"]["date"]) == ("corpus-tones", DAY)
    assert made.parent_task_run_id and client.read_task_run(made.parent_task_run_id).flow_run_id == parent.id

    leave_checkpoint(made.id, "av-0123")
    client.set_flow_run_state(made.id, Completed(message="all is made"), force=True)
    end_children(made_parent, parent, Running())
    complete, cancelled = runs.children()
    assert (complete.state, complete.message, complete.is_complete) == ("Completed", "all is made", True)
    assert (complete.checkpoint, cancelled.checkpoint) == ("av-0123", "")
    assert root_in(client.read_flow_run(made.id).labels) == OuterRun(run_id="the first", job="nightly")
    assert (cancelled.is_over, cancelled.is_complete) == (True, False)
    assert cancel_children(runs) == 0

    with pytest.raises(ConfigError, match=r"no deployment 'other/other'; `./run up`"):
        runs.start(replace(CHILD, deployment="other/other"), 0)
    require_date_kept(client)


def require_date_kept(client: SyncPrefectClient) -> None:
    """Ask for the date that a run was scheduled for, two nights ago: a worker that was down takes it up now, it
    crashes, and somebody retries it.
    """
    deployment = client.read_deployment_by_name(CHILD.deployment)
    due = datetime.datetime(2026, 11, 19, 23, 30, tzinfo=datetime.UTC)
    late: FlowRun = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due))
    states: list[State[Any]] = [Running(), Crashed(), Scheduled(name="AwaitingRetry"), Running()]
    for state in states:
        client.set_flow_run_state(late.id, state, force=True)
        scheduled = client.read_flow_run(late.id).expected_start_time
        assert scheduled and logical_date(scheduled, "Europe/Berlin") == "2026-11-20"
