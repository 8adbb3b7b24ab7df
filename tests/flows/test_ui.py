"""What a person sees: Prefect's own UI in a real browser paints every kind of artifact of ours."""

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

from deployments.binding import Access, address_of, free_port
from deployments.settings import base_environment, client_environment, server_environment
from tests.flows.browser import find_chromium, open_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_chromium() is None, reason="needs chromium: apt install chromium"),
]
ROOT = Path(__file__).resolve().parents[2]
DESK = "http://127.0.0.1:4999"
FIRST_PORT = 4780
START_S = 180.0
HOSTILE = "[x](javascript:alert(1))<img src=x>.wav"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A server with runs to look at."""

    address: str
    night: str
    judge: str
    form: str

    def artifacts(self, run: str) -> dict[str, str]:
        """The address of each artifact's page of a run, by key."""
        wish = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        request = urllib.request.Request(
            f"{self.address}/api/artifacts/filter", json.dumps(wish).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return {row["key"]: f"{self.address}/artifacts/artifact/{row['id']}" for row in json.load(answer)}


@pytest.fixture
def shown(tmp_path: Path, write_corpus: Callable[..., Path]) -> Iterator[Shown]:
    """Start a server as `up` does, and let it have a night."""
    files: dict[str, bytes | None] = {"a.wav": None, "b.wav": None, "c.wav": None, HOSTILE: b"RIFF....WAVEnonsense" * 9}
    config = write_corpus(files, "max_quarantined = 0.5")
    port = free_port(FIRST_PORT)
    everywhere = base_environment(config, "UTC", tmp_path / "prefect")
    environment = {**everywhere, **server_environment(Access(), port, "", "")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        await_health(server, port, tmp_path / "server.log")
        yield Shown(address=address_of(port), **runs_of(config, everywhere | client_environment(address_of(port))))
    finally:
        server.terminate()
        server.wait()


def await_health(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        assert server.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{address_of(port)}/api/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)


def runs_of(config: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run the flows in a process of their own: this one may speak to another server."""
    environment = environment | {"MMPIPE_DESK_URL": DESK, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.flows.browser_night", str(config)]
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("end") == "Completed"
    return dict(told)


def test_every_artifact_of_a_night_and_the_backfill_form_are_painted(shown: Shown, tmp_path: Path) -> None:
    program = find_chromium()
    assert program
    night, judged = shown.artifacts(shown.night), shown.artifacts(shown.judge)
    with open_browser(program, tmp_path / "browser") as tab:
        tab.open(f"{shown.address}/runs/flow-run/{shown.night}")
        tab.await_text("nightly-tones-2026-11-03", "Completed")
        tab.click("Artifacts")
        tab.await_text(*night)

        for stage, said in (("extract", "extract: 3 of 3"), ("probe", "probe: 4 of 4")):
            tab.open(night[f"nightly-tones-progress-{stage}"])
            tab.await_text(said, "Progress: 100%")

        tables = {
            "ingest": ("files", "quarantined", "2026-11-03"),
            "shards": ("reused", "failed", "1 of 2", "2 of 2"),
            "commit": ("audio-logmel@1", "written"),
            "ledger": ("audio-logmel@1", "complete", "2026-11-03"),
            "speed": ("bottleneck", "workers' time"),
            "quarantine": ("not_media", "[x] (javascript:alert(1))"),
        }
        for name, texts in tables.items():
            tab.open(night[f"nightly-tones-{name}"])
            tab.await_true("document.querySelector('table')")
            tab.await_text(*texts)
        assert tab.ask("document.querySelectorAll('table a, table img').length") == 0, "a file's name is only a name"

        tab.open(night["nightly-tones-summary"])
        tab.await_text("2 shards are due", "1 feature of tones committed")
        tab.open(night["nightly-tones-report"])
        tab.await_true(f"document.querySelector('a[href=\"{DESK}/reports/tones-2026-11-03.html\"]')")

        tab.open(judged["judge-av-evaluation"])
        tab.await_text("transformer", "0.8375", "refused", "7-abcdef01")
        tab.open(judged["judge-av-plots-av"])
        tab.await_true("document.images.length == 2 && [...document.images].every(image => image.naturalWidth > 0)")

        tab.open(f"{shown.address}/deployments/deployment/{shown.form}/run")
        tab.await_text("From", "To", "Only", "Dry run", "Days at once", "Validate parameters")
        tab.await_true("document.body.innerText.includes('due') && document.body.innerText.includes('Submit')")
