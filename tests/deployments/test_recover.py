"""The net below the automations: which runs are lost, and that none is started for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.recover import MOST_STARTS, RECENT_S, SETTLED_S, STUCK_S, look_after_runs

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


def made_run(name: str, state: str, ago_s: float, run_count: int = 1, deployment: str | None = "d") -> dict[str, Any]:
    """A run as the server tells of it, in its state since so long."""
    since = (NOW - timedelta(seconds=ago_s)).isoformat()
    return {
        "id": f"id-{name}",
        "name": name,
        "state_type": state,
        "state": {"type": state, "timestamp": since},
        "end_time": since if state == "CRASHED" else None,
        "run_count": run_count,
        "deployment_id": deployment,
        "tags": ["mmpipe"],
    }


class MadeRunsApi:
    """The runs of a server, found as its filters find them."""

    def __init__(self, *runs: dict[str, Any], retried: dict[str, int] | None = None) -> None:
        self.runs = runs
        self.retried = retried or {}
        self.set: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Do what the server does."""
        if path == "/flow_runs/filter":
            return [run for run in self.runs if matches(run, body["flow_runs"])][body.get("offset", 0) :]
        if path.startswith("/flow_run_states/"):
            number = self.retried.get(path.rpartition("=")[2], 0)
            return [{"name": "Crashed"}, *({"name": "AwaitingRetry"} for _ in range(number))]
        if path == "/events":
            self.events += body
            return None
        assert (method, path.endswith("/set_state")) == ("POST", True)
        self.set[path.split("/")[2]] = body["state"]
        return {"status": "ACCEPT"}


def matches(run: dict[str, Any], wanted: dict[str, Any]) -> bool:
    ended = wanted.get("end_time")
    is_ours = "deployment_id" not in wanted or run["deployment_id"] is not None
    in_time = ended is None or ended["after_"] <= (run["end_time"] or "") <= ended["before_"]
    return is_ours and in_time and run["state_type"] in wanted["state"]["type"]["any_"] and "mmpipe" in run["tags"]


def test_what_crashed_and_what_never_began_starts_again() -> None:
    api = MadeRunsApi(
        made_run("crashed", "CRASHED", SETTLED_S + 1),
        made_run("never-ran", "CRASHED", SETTLED_S + 1, run_count=0),
        made_run("stuck", "PENDING", STUCK_S + 1, run_count=0),
        made_run("by-hand", "CRASHED", SETTLED_S + 1, deployment=None),  # no worker would take it
        made_run("just-now", "CRASHED", SETTLED_S - 1),
        made_run("long-ago", "CRASHED", RECENT_S + 1),
        made_run("beginning", "PENDING", STUCK_S - 1, run_count=0),
        made_run("running", "RUNNING", 9000),
        made_run("done", "COMPLETED", 9000),
    )
    assert [run.name for run in look_after_runs(api, NOW, must_ask=False)] == ["crashed", "never-ran", "stuck"]
    assert set(api.set) == {"id-crashed", "id-never-ran", "id-stuck"}
    assert {(state["type"], state["name"]) for state in api.set.values()} == {("SCHEDULED", "AwaitingRetry")}
    assert api.events == []


@pytest.mark.parametrize(("run_count", "retried"), [(MOST_STARTS, 0), (0, MOST_STARTS - 1), (2, MOST_STARTS - 1)])
def test_what_crashes_every_time_comes_to_an_end(run_count: int, retried: int) -> None:
    run = made_run("again", "CRASHED", SETTLED_S + 1, run_count=run_count)
    api = MadeRunsApi(run, retried={run["id"]: retried})
    assert look_after_runs(api, NOW, must_ask=False) == () and api.set == {}
    fewer = MadeRunsApi(run | {"run_count": min(run_count, 1)}, retried={run["id"]: MOST_STARTS - 2})
    assert len(look_after_runs(fewer, NOW, must_ask=False)) == 1


def test_what_seems_to_run_is_asked_for_a_sign_of_life_and_what_waits_to_begin_is_not() -> None:
    api = MadeRunsApi(made_run("running", "RUNNING", 9000), made_run("beginning", "PENDING", 5, run_count=0))
    look_after_runs(api, NOW, must_ask=True)
    (event,) = api.events
    assert event["event"] == "mmpipe.run.asked"
    assert event["resource"]["prefect.resource.id"] == "prefect.flow-run.id-running"
    assert {one["prefect.resource.role"] for one in event["related"]} == {"tag", "deployment"}
