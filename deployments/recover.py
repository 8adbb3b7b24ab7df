"""Look after runs whose end nobody noticed, and start crashed ones again: the net below the automations.

Automations live on events, and events get lost: a server that is away or whose database is locked drops them, and a run
that died while it was starting sent none. What is asked here of the server is what stands in its database.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.api import Api, ServerApi
from deployments.asked_runs import RUNNING, TAG, ask_runs
from deployments.credentials import CLIENT_AUTH
from mmpipe.errors import MmpipeError

LOOK_S = 60.0
ASK_S = 300.0  # longer than it takes to be taken for dead: a question begins that time anew
SETTLED_S = 90.0  # both the runner and its worker have reported a crash by then, and the automation has acted
RECENT_S = 6 * 3600.0  # what crashed before that is a person's to decide
STUCK_S = 1200.0  # a run that was taken so long ago and has not begun never will
MOST_STARTS = 5  # the flows themselves refuse more, those that get as far
AWAITING_RETRY = "AwaitingRetry"
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRun:
    """A run that no process works on, and how often it was started."""

    id: str
    name: str
    why: str
    starts: int


def main() -> int:
    """Look until somebody ends us."""
    asked_s = -ASK_S
    while True:
        now_s = time.monotonic()
        must_ask = now_s - asked_s >= ASK_S
        asked_s = now_s if must_ask else asked_s
        try:
            # A door of its own each time: the token of one is good for an hour.
            api = ServerApi(os.environ["PREFECT_API_URL"].removesuffix("/api"), os.environ.get(CLIENT_AUTH, ""))
            look_after_runs(api, datetime.now(UTC), must_ask=must_ask)
        except MmpipeError as error:
            _say(str(error))
        time.sleep(LOOK_S)


def look_after_runs(api: Api, now: datetime, *, must_ask: bool) -> tuple[LostRun, ...]:
    """Start again what is lost; with `must_ask` have the server wait for a sign of life of what seems to run."""
    lost = tuple(run for run in lost_runs(api, now) if run.starts < MOST_STARTS)
    for run in lost:
        message = f"{run.why}; it is started again."
        state = {"type": "SCHEDULED", "name": AWAITING_RETRY, "message": message}
        api.ask("POST", f"/flow_runs/{run.id}/set_state", {"state": state})
        _say(f"{run.name}: {message}")
    if must_ask:
        ask_runs(api, now, (RUNNING,))
    return lost


def lost_runs(api: Api, now: datetime) -> Iterator[LostRun]:
    """Yield the runs of deployments of ours that crashed a while ago, and those that were taken and never began."""
    ended = {"before_": _stamp(now, SETTLED_S), "after_": _stamp(now, RECENT_S)}
    for run in _read(api, {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": ended}):
        yield _lost(api, run, "It crashed")
    for run in _read(api, {"state": {"type": {"any_": ["PENDING"]}}}):
        if datetime.fromisoformat(run["state"]["timestamp"]) < now - timedelta(seconds=STUCK_S):
            yield _lost(api, run, f"Pending for {STUCK_S / 60:.0f} min")


def _read(api: Api, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return runs of deployments of ours; what is over a page has its turn at the next look."""
    ours = {"tags": {"all_": [TAG]}, "deployment_id": {"is_null_": False}}
    return list(api.ask("POST", "/flow_runs/filter", {"flow_runs": {**ours, **wanted}, "limit": _PAGE}))


def _lost(api: Api, run: dict[str, Any], why: str) -> LostRun:
    """Count the starts also of a run that never got as far as our code, and is said to have had none."""
    states = api.ask("GET", f"/flow_run_states/?flow_run_id={run['id']}") or ()
    again = sum(state["name"] == AWAITING_RETRY for state in states)
    return LostRun(id=run["id"], name=run["name"], why=why, starts=max(run["run_count"], 1 + again))


def _stamp(now: datetime, ago_s: float) -> str:
    return (now - timedelta(seconds=ago_s)).isoformat()


def _say(text: str) -> None:
    print(f"recover: {time.strftime('%F %T')} {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
