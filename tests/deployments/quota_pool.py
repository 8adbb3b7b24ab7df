"""A pool of a real server with the queues of two corpora, and a worker that only asks."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from deployments.api import ServerApi
from deployments.queues import apply_queues, corpus_queue
from mmpipe.config import NightConfig

POOL = "quotas"  # no other worker asks for it: it would take the runs away while they are looked at
NIGHTS = {"archive": NightConfig(priority=50), "news": NightConfig(priority=1, max_runs=2)}


class QuotaPool:
    """The pool of a server with the queues of the corpora, and a worker that only asks."""

    def __init__(self, address: str) -> None:
        self._api = ServerApi(address)
        self._api.ask("POST", "/work_pools/", {"name": POOL, "type": "process"})
        apply_queues(self._api, POOL, NIGHTS)
        flow = self._api.ask("POST", "/flows/", {"name": f"quota-{uuid.uuid4().hex}"})
        wish = {"name": "quota", "flow_id": flow["id"], "work_pool_name": POOL}
        self._deployment = self._api.ask("POST", "/deployments/", wish)["id"]

    def order(self, corpus: str, count: int) -> None:
        """Start runs of a corpus, as its night does."""
        for _ in range(count):
            wish = {"work_queue_name": corpus_queue(corpus), "name": corpus, "state": {"type": "SCHEDULED"}}
            self._api.ask("POST", f"/deployments/{self._deployment}/create_flow_run", wish)

    def take(self, slots: int) -> list[dict[str, Any]]:
        """Take up to so many runs, as a worker with so many free slots does: they run from now on."""
        question = {"limit": slots, "scheduled_before": datetime.now(UTC).isoformat()}
        rows = self._api.ask("POST", f"/work_pools/{POOL}/get_scheduled_flow_runs", question)
        taken = [row["flow_run"] for row in rows]
        for run in taken:
            self.set_state(run, "RUNNING")
        return taken

    def set_state(self, run: dict[str, Any], kind: str) -> None:
        """Say how a run is."""
        self._api.ask("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": kind}, "force": True})
