"""Who is served when corpora want more than there is: asked of a real server as its workers ask it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.api import ServerApi
from deployments.queues import apply_queues, corpus_queue
from mmpipe.config import NightConfig

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
POOL = "quotas"  # of this module alone
NIGHTS = {"archive": NightConfig(priority=50), "news": NightConfig(priority=1, max_runs=2)}


class Pool:
    """The pool of a server with the queues of the corpora, and a worker that only asks."""

    def __init__(self) -> None:
        from prefect.settings import PREFECT_API_URL

        self._api = ServerApi(str(PREFECT_API_URL.value()).removesuffix("/api"))
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


def test_a_corpus_of_low_priority_waits_and_the_quota_of_the_first_leaves_it_room() -> None:
    pool = Pool()
    pool.order("archive", 3)  # first come, last served
    pool.order("news", 4)
    first = pool.take(2)
    assert [run["name"] for run in first] == ["news", "news"], "what waits longer has the lower priority"
    second = pool.take(2)
    assert [run["name"] for run in second] == ["archive", "archive"], "news has its two runs: the slots are not idle"
    pool.set_state(first[0], "COMPLETED")
    assert [run["name"] for run in pool.take(1)] == ["news"], "its slot goes to the corpus that is served first"
    pool.set_state(first[1], "COMPLETED")
    assert [run["name"] for run in pool.take(9)] == ["news", "archive"]
    assert pool.take(9) == []
