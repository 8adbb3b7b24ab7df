"""The automations for real: a flow process is killed with -9, and the night goes on without a person."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.up import free_port
from tests.deployments.receiver import Inbox, mailbox, webhook

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
WINDOW_S = 90  # of dead-runs.yaml
SECRET = "admin:only-of-this-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server with a worker and the automations."""

    folder: Path
    client: SyncPrefectClient
    hook: Inbox
    mail: Inbox


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    port = free_port(4862)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MMPIPE"))}
    with webhook() as hook, mailbox() as mail:
        environment = {
            **kept,
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": SECRET,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_API_AUTH_STRING": SECRET,
            "MMPIPE_NOTIFY_URL": f"{hook.address}/hook?token=seven mailto://{mail.address}?from=a@example.org&to=b@example.org",
            "PYTHONPATH": str(REPOSITORY),
        }
        log = (folder / "log").open("w")

        def prefect(*arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", *arguments]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd="/")

        server = prefect("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        worker = None
        try:
            poll(lambda: answers(f"http://127.0.0.1:{port}/api/ready"), 180)
            pool = prefect("prefect", "--no-prompt", "work-pool", "create", "hands", "--type", "process")
            assert pool.wait() == 0
            assert prefect("deployments.automations").wait() == 0
            worker = prefect("prefect", "worker", "start", "--pool", "hands", "--type", "process")
            with SyncPrefectClient(environment["PREFECT_API_URL"], auth_string=SECRET) as client:
                yield Site(folder=folder, client=client, hook=hook, mail=mail)
        finally:
            for process in filter(None, (worker, server)):
                process.terminate()
                process.wait(60)
            log.close()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401  # it asks who we are: it is there
    except OSError:
        return False


def poll(what: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing after {seconds:.0f} s")


def test_a_killed_run_is_called_crashed_and_runs_again(site: Site) -> None:
    flow_id = site.client.create_flow_from_name("crashing")
    deployment = site.client.create_deployment(
        flow_id,
        "crashing",
        path=str(REPOSITORY),
        entrypoint="tests.deployments.crashing.crashing",
        work_pool_name="hands",
        tags=["mmpipe"],
        parameter_openapi_schema={"type": "object", "properties": {"folder": {"type": "string"}}},
        job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}, "working_dir": str(REPOSITORY)},
    )
    starts = site.folder / "starts"
    starts.mkdir()
    run = site.client.create_flow_run_from_deployment(deployment, parameters={"folder": str(starts)})
    first = poll(lambda: (starts / "start-0").exists() and (starts / "start-0").read_text(), 120)

    def state() -> Any:
        return site.client.read_flow_run(run.id).state

    poll(lambda: heartbeats(site, run.id), 60)
    # The worker sees an end of its own child; a run whose worker went too is what nobody sees.
    (worker,) = children_of(os.getpid(), "worker")
    os.kill(worker, signal.SIGSTOP)
    os.kill(int(first), signal.SIGKILL)
    killed = time.monotonic()
    assert state().type == "RUNNING", "nobody knows yet"
    try:
        poll(lambda: state().name in ("Crashed", "AwaitingRetry"), WINDOW_S + 60)
        print(f"seen after {time.monotonic() - killed:.0f} s")
    finally:
        os.kill(worker, signal.SIGCONT)
    poll(lambda: state().type == "COMPLETED", 120)
    print(f"completed after {time.monotonic() - killed:.0f} s")
    assert len(list(starts.iterdir())) == 2
    assert site.client.read_flow_run(run.id).run_count == 2


def heartbeats(site: Site, run_id: Any) -> bool:
    body = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}
    found = site.client.request("POST", "/events/filter", json=body).json()["events"]
    return any(str(run_id) in event["resource"]["prefect.resource.id"] for event in found)


def children_of(parent: int, word: str) -> list[int]:
    """Return our children whose command line has the word."""
    found = []
    for entry in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, entry.read_text().split()):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def test_a_notice_reaches_the_webhook_and_the_mailbox(site: Site) -> None:
    event = {
        "id": "0191a5a8-0000-7000-8000-000000000001",
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "mmpipe.freshness.missed",
        "resource": {
            "prefect.resource.id": "mmpipe.corpus.av",
            "prefect.resource.name": "av",
            "mmpipe.what": "mmpipe.freshness.missed",
            "mmpipe.about": "audio-logmel@1",
        },
        "payload": {"text": "the newest whole date of audio-logmel@1 ended 50 h ago"},
    }
    assert site.client.request("POST", "/events", json=[event]).status_code == 204
    told = site.hook.wait_for("audio-logmel@1 ended 50 h ago")
    assert "mmpipe: av: freshness missed" in told
    assert site.hook.paths[0] == "/hook?token=seven"
    assert "freshness missed" in site.mail.wait_for("ended 50 h ago")
