"""A house of our own: what `up` brings up, under a token, with its REST API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.services import ROOT, Service, is_alive, read_service
from tests.faults.clips import DAYS, NIGHT
from tests.faults.processes import TOKEN_VARIABLE, Process, house_processes

PORT = 4900
PATIENCE_S = 300.0  # a server may take minutes to start on a machine that is busy
_OURS = ("PREFECT", "MMPIPE")
_BUSY = (429, 500, 502, 503)


class Unreachable(Exception):
    """The server does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A flow run, as the server has it."""

    id: str
    name: str
    state: str
    message: str

    @property
    def has_ended(self) -> bool:
        """Say whether nothing will happen to it any more."""
        return self.state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    def __str__(self) -> str:
        return f"{self.name} ({self.id}): {self.state} {self.message[:200]}".strip()


@dataclass(slots=True, kw_only=True)
class House:
    """A server with its workers; every process of it carries the token."""

    folder: Path
    port: int = PORT
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of everything here: none of the caller's Prefect, and a heart that beats often."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {
            **kept,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            TOKEN_VARIABLE: self.token,
        }

    def up(self, config: Path) -> None:
        """Bring everything up, or what is missing of it."""
        done = self._command("up", "--config", str(config), "--port", str(self.port))
        if done.returncode:
            raise RuntimeError(f"`up` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.address = next(word for word in done.stdout.split() if word.startswith("http"))

    def down(self) -> None:
        """Stop everything."""
        self._command("down")

    def services(self) -> dict[str, Service]:
        """Return the services that live."""
        folder = self.folder / "prefect" / "services"
        found = {path.stem: read_service(folder, path.stem) for path in folder.glob("[!.]*.json")}
        return {name: service for name, service in found.items() if service and is_alive(service)}

    def processes(self) -> tuple[Process, ...]:
        """Return every living process of the house."""
        return house_processes(self.token, self.folder)

    def ask(self, path: str, body: dict[str, Any] | None = None, patience_s: float = PATIENCE_S) -> Any:
        """Call the server's API; a server that is being started again gets time."""
        give_up_s = time.monotonic() + patience_s
        while True:
            try:
                return self._ask(path, body)
            except Unreachable:
                if time.monotonic() > give_up_s:
                    raise
                time.sleep(0.5)

    def start(self, kind: str, config: Path) -> str:
        """Start a run of a deployment with the call that the UI makes, and return its id."""
        dates = (
            {"first_date": DAYS[0], "last_date": DAYS[-1], "max_in_flight": 3}
            if kind == "backfill"
            else {"date": NIGHT}
        )
        deployment = self.ask(f"/deployments/name/{kind}/{kind}")
        wish = {"parameters": {"parameters": {"config": str(config), **dates}}, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"/deployments/{deployment['id']}/create_flow_run", wish)["id"])

    def runs(self, config: Path) -> list[Run]:
        """Return every run about a config, those that runs have started too."""
        found = self.ask("/flow_runs/filter", {"limit": 200, "sort": "START_TIME_DESC"})
        about = [run for run in found if str(config) in json.dumps(run["parameters"])]
        return [_run(run) for run in about]

    def run(self, run_id: str, patience_s: float = PATIENCE_S) -> Run:
        """Return one run."""
        return _run(self.ask(f"/flow_runs/{run_id}", patience_s=patience_s))

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"{self.address}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in _BUSY:
                raise RuntimeError(f"{path}: {error.code} {error.read()[:500]!r}") from error
            raise Unreachable(f"{path}: {error.code}") from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"{path}: {error}") from error

    def _command(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"deployments.{module}", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )


def _run(answer: dict[str, Any]) -> Run:
    state = answer["state"] or {}
    return Run(id=answer["id"], name=answer["name"], state=state.get("type") or "", message=state.get("message") or "")
