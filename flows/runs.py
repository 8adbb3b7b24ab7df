"""The door to runs of deployments: start one, see how many are, end one. A run knows its children for all its lives.

A child is found again by its idempotency key: the id of the run that started it, what it is about, and which try it
is. So a parent that is retried takes up what it had started, and never starts the same twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import httpx
from prefect import Task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling, Pending, Scheduled

from flows.parameters import FlowParameters
from mmpipe.errors import ConfigError, TransientError

POLL_S = 5.0
PATIENCE_S = 900.0  # a server restarts, and a locked database is free again, in less
_PAGE = 200  # as many runs as the server gives at once
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
CHECKPOINT_LABEL = "mmpipe.checkpoint"  # what a training leaves on its run for the one that started it
_WAY_OUT = "`./run up` makes all deployments; without a server, `mmpipe run` and `mmpipe backfill` do the same here"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A run to start: of which deployment, about what, in whose queue."""

    subject: str  # a date, or a stage: unique among the children of a run
    deployment: str  # "flow/deployment"
    corpus: str  # whose share of the machines it takes
    parameters: FlowParameters

    @property
    def queue(self) -> str:
        """Return the work queue of its corpus."""
        return f"corpus-{self.corpus}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A child as the server knows it."""

    id: str
    subject: str
    number: int  # which try of the subject
    state: str  # as the UI shows it: Running, AwaitingRetry, Completed, ...
    message: str = ""
    is_over: bool = False
    is_complete: bool = False
    is_crashed: bool = False  # its process is gone; what retries crashed runs may yet start it again
    checkpoint: str = ""  # that it has left, where it is a training


class Runs(Protocol):
    """The children of one run."""

    def children(self) -> tuple[Run, ...]:
        """Return every child that this run started in any of its lives, oldest first."""

    def look(self, ids: Collection[str]) -> tuple[Run, ...]:
        """Return how some children are, in one call."""

    def start(self, child: Child, number: int) -> Run:
        """Start the so many-th try of a child; one that was started already is returned as it is."""

    def cancel(self, run: Run) -> None:
        """Ask a child to end; one that is over stays as it is."""

    def pause(self) -> None:
        """Wait before looking again."""


class ServerRuns:
    """The children of a run on the Prefect server."""

    def __init__(self, parent: UUID, labels: dict[str, str] | None = None) -> None:
        """Speak for a flow run; what goes on its children, like the trace that they belong to, are labels."""
        self._parent = parent
        self._labels = labels or {}

    def children(self) -> tuple[Run, ...]:
        """Return every child that this run started in any of its lives, oldest first."""
        of_parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self._parent]))
        return self._read(of_parent)

    def look(self, ids: Collection[str]) -> tuple[Run, ...]:
        """Return how some children are, in one call."""
        return self._read(FlowRunFilter(id=FlowRunFilterId(any_=[UUID(one) for one in sorted(ids)]))) if ids else ()

    def start(self, child: Child, number: int) -> Run:
        """Start the so many-th try of a child; one that was started already is returned as it is."""
        key = f"{self._prefix}{child.subject}:{number}"
        return self._to_run(patiently(lambda: self._create(child, key)))

    def cancel(self, run: Run) -> None:
        """Ask a child to end; one that is over stays as it is."""
        state: State[None] = Cancelling(message="the run that started it was cancelled")

        def ask() -> None:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(UUID(run.id), state)  # the server refuses where it ended since

        patiently(ask)

    def pause(self) -> None:
        """Wait before looking again."""
        time.sleep(POLL_S)

    @property
    def _prefix(self) -> str:
        return f"{self._parent}:"

    def _create(self, child: Child, key: str) -> FlowRun:
        with get_client(sync_client=True) as client:
            try:
                deployment = client.read_deployment_by_name(child.deployment)
            except ObjectNotFound as error:
                raise ConfigError(f"the server has no deployment {child.deployment!r}; {_WAY_OUT}") from error
            return client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"parameters": child.parameters.model_dump(mode="json")},
                state=Scheduled(),
                idempotency_key=key,
                parent_task_run_id=self._link(client, child, key),
                work_queue_name=child.queue,
                labels=dict(self._labels),
            )

    def _link(self, client: SyncPrefectClient, child: Child, key: str) -> UUID:
        """Return the task run that stands for the child in its parent, as `run_deployment` makes one.

        That one numbers them anew in every life of the parent, and so would hang one child in the place of another.
        """
        stand_in = Task(fn=lambda: None, name=child.deployment)
        stand_in.task_key = child.deployment
        name = f"{child.deployment.rpartition('/')[2]} {child.subject}"
        return client.create_task_run(
            task=stand_in, flow_run_id=self._parent, dynamic_key=key, name=name, state=Pending()
        ).id

    def _read(self, chosen: FlowRunFilter) -> tuple[Run, ...]:
        found: list[FlowRun] = []
        while True:
            page = patiently(partial(_read_page, chosen, len(found)))
            found += page
            if len(page) < _PAGE:
                return tuple(self._to_run(run) for run in found if (run.idempotency_key or "").startswith(self._prefix))

    def _to_run(self, run: FlowRun) -> Run:
        subject, _, number = (run.idempotency_key or "").removeprefix(self._prefix).rpartition(":")
        state = run.state
        return Run(
            id=str(run.id),
            subject=subject,
            number=int(number),
            state=state.name or "" if state else "",
            message=state.message or "" if state else "",
            is_over=state is not None and state.is_final(),
            is_complete=state is not None and state.is_completed(),
            is_crashed=state is not None and state.is_crashed(),
            checkpoint=str(run.labels.get(CHECKPOINT_LABEL, "")),
        )


def leave_checkpoint(run: UUID, checkpoint: str) -> None:
    """Note on a run which checkpoint it has made."""

    def note() -> None:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(run, {CHECKPOINT_LABEL: checkpoint})

    patiently(note)


def _read_page(chosen: FlowRunFilter, offset: int) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=_PAGE, offset=offset
        )


def patiently(
    call: Callable[[], T],
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call a server that may be restarting or busy, again and again with growing pauses; any other fault is raised.

    TransientError: it has not answered for so long.
    """
    started_s, pause_s = clock(), 1.0
    while True:
        try:
            return call()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if not _may_pass(error):
                raise
            if clock() - started_s > patience_s:
                raise TransientError(
                    f"the Prefect server has not answered for {patience_s / 60:.0f} minutes ({error}). "
                    "Look at its log, then retry this run: it takes up what it has started."
                ) from error
        sleep(pause_s * random.uniform(0.5, 1.5))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _may_pass(error: Exception) -> bool:
    """Say whether the fault is one of the moment: no connection, or a server that says that it is busy."""
    return not isinstance(error, PrefectHTTPStatusError) or error.response.status_code in _TRY_AGAIN
