"""`up` and `down` for real: a server of the pinned packages, all deployments, the scheduler, a run by the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployments.services import Service, is_alive, marked_processes, read_service

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
NAMES = {"nightly", "backfill", "ingest", "extract", "train", "release"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A server of our own with its worker."""

    folder: Path
    environment: dict[str, str]
    address: str

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the server's API."""
        request = urllib.request.Request(
            f"{self.address}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def services(self) -> dict[str, Service]:
        """What runs here."""
        found = {name: read_service(self.folder / "prefect" / "services", name) for name in ("server", "worker")}
        return {name: service for name, service in found.items() if service and is_alive(service)}

    def command(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"deployments.{module}", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Bring everything up once, and down at the end."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "raw").mkdir()
    (folder / "raw" / "one.txt").write_text("a first word")
    config = folder / "mmpipe.toml"
    config.write_text(
        'store = "store"\ntimezone = "Europe/Berlin"\n[engine]\nworkers = 1\n[corpora.words]\nroot = "raw"\n'
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MMPIPE"))}
    environment = {**kept, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_LOGGING_LEVEL": "WARNING"}
    home = Home(folder=folder, environment=environment, address="")
    up = home.command("up", "--config", str(config), "--port", "4700")
    try:
        assert up.returncode == 0, up.stderr
        yield Home(folder=folder, environment=environment, address=up.stdout.strip())
    finally:
        home.command("down")


def poll(what: Callable[[], Any], seconds: float = 90) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.5)
    return answer


def test_every_deployment_is_there(home: Home) -> None:
    deployments = {entry["name"]: entry for entry in home.ask("/deployments/filter", {})}
    assert set(deployments) == NAMES
    for name, entry in deployments.items():
        assert entry["entrypoint"] == f"flows.{name}.{name}"
        assert entry["job_variables"]["env"]["MMPIPE_CONFIG"] == str(home.folder / "mmpipe.toml")
    assert deployments["backfill"]["work_queue_name"] == "backfill"
    nightly = deployments["nightly"]
    assert nightly["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert nightly["global_concurrency_limit"]["limit"] == 1
    (schedule,) = nightly["schedules"]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (True, "Europe/Berlin")


def test_the_scheduler_makes_runs_of_the_cron(home: Home) -> None:
    """With a wrong SQLAlchemy all looks healthy and no run is ever scheduled."""
    runs = poll(lambda: [run for run in home.ask("/flow_runs/filter", {}) if run["auto_scheduled"]])
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}


def test_the_worker_runs_a_flow_from_the_checkout(home: Home) -> None:
    deployment = home.ask("/deployments/name/ingest/ingest")
    wish = {"parameters": {"parameters": {"date": "2026-11-03"}}}
    run = home.ask(f"/deployments/{deployment['id']}/create_flow_run", wish)
    ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    done = poll(lambda: next(iter([r for r in [home.ask(f"/flow_runs/{run['id']}")] if r["state_type"] in ends]), None))
    assert (done["state_type"], done["name"]) == ("COMPLETED", "ingest-words-2026-11-03"), done["state"]
    assert (home.folder / "store" / "words" / "clips" / "_meta" / "dt=2026-11-03").is_dir()


def test_only_its_own_page_may_call_the_server(home: Home) -> None:
    for origin, allowed in ((home.address, home.address), ("http://evil.example", None)):
        request = urllib.request.Request(f"{home.address}/api/health", headers={"Origin": origin})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_up_again_changes_nothing_and_down_leaves_nothing(home: Home) -> None:
    before = home.services()
    assert set(before) == {"server", "worker"}
    again = home.command("up", "--config", str(home.folder / "mmpipe.toml"))
    assert again.stdout.strip() == home.address, again.stderr
    assert home.services() == before
    assert home.command("down").returncode == 0
    assert home.services() == {}
    assert [marked_processes(service.mark) for service in before.values()] == [(), ()]
    assert "nothing was up" in home.command("down").stderr
