"""Ask the runs that a server holds for living whether they do: over an outage it forgets that it waits for them.

A server that comes back drops what it waited for when that is more than a minute overdue. So after a night in which
server and flows died together (the machine lost its power), a run would be Running for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from deployments.api import Api

TAG = "mmpipe"
RUNNING, PENDING = "RUNNING", "PENDING"
# The automations dead-runs and stuck-runs begin to wait with these, as with a heartbeat.
EVENTS = {RUNNING: "mmpipe.run.asked", PENDING: "mmpipe.pending-run.asked"}
_PAGE = 200


def ask_runs(api: Api, now: datetime | None = None, states: Sequence[str] = (RUNNING, PENDING)) -> int:
    """Have the server wait for a sign of life of each run from now on; return how many there are."""
    runs = tuple(_unfinished(api, states))
    events = [_question(run, now or datetime.now(UTC)) for run in runs]
    for first in range(0, len(events), _PAGE):
        api.ask("POST", "/events", events[first : first + _PAGE])
    return len(runs)


def _unfinished(api: Api, states: Sequence[str]) -> Iterator[dict[str, Any]]:
    wanted = {"tags": {"all_": [TAG]}, "state": {"type": {"any_": list(states)}}}
    offset = 0
    while page := api.ask("POST", "/flow_runs/filter", {"flow_runs": wanted, "limit": _PAGE, "offset": offset}):
        yield from page
        offset += len(page)


def _question(run: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "occurred": now.isoformat(),
        "event": EVENTS[run["state_type"]],
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.name": run["name"]},
        "related": list(_related(run)),
    }


def _related(run: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield what the automations match: that it is ours, and of a deployment."""
    yield {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
    if run["deployment_id"]:
        yield {
            "prefect.resource.id": f"prefect.deployment.{run['deployment_id']}",
            "prefect.resource.role": "deployment",
        }
