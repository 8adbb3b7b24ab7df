"""A server of our own with its worker, as `up` brings it up, and its REST API as the UI calls it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.services import Service, is_alive, read_services

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A server of our own with its worker."""

    folder: Path
    environment: dict[str, str]
    address: str

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / "mmpipe.toml"

    @property
    def state(self) -> Path:
        """The folder that says what was started."""
        return self.folder / "prefect" / "services"

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Call the server's API; SQLite answers 503 in bursts, which every caller has to wait out."""
        request = urllib.request.Request(
            f"{self.address}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"{}")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
                error.close()
            time.sleep(1)

    def start(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """Start a run as the form of the UI does."""
        number = self.ask(f"/deployments/name/{deployment}/{deployment}")["id"]
        created: dict[str, Any] = self.ask(
            f"/deployments/{number}/create_flow_run", {"parameters": {"parameters": parameters}}
        )
        return created

    def end_of(self, run: dict[str, Any]) -> dict[str, Any]:
        """Wait for a run's end."""
        found: dict[str, Any] = poll(
            lambda: next(iter([r for r in [self.ask(f"/flow_runs/{run['id']}")] if r["state_type"] in ENDS]), None), 150
        )
        return found

    def deployments(self) -> dict[str, dict[str, Any]]:
        """What the server has, by name."""
        return {entry["name"]: entry for entry in self.ask("/deployments/filter", {})}

    def queues(self) -> list[tuple[str, int, int | None]]:
        """The queues of the pool: name, priority, limit."""
        rows = self.ask("/work_pools/cpu/queues/filter", {})
        return [(row["name"], row["priority"], row["concurrency_limit"]) for row in rows]

    def services(self) -> dict[str, Service]:
        """What runs here."""
        return {service.name: service for service in read_services(self.state) if is_alive(service)}

    def command(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"deployments.{module}", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
        )


def poll(what: Callable[[], Any], seconds: float = 90) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.5)
    return answer
