"""What `up` starts is found again, also without its parent, and strangers are left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.down import bring_down
from deployments.services import (
    MARK_VARIABLE,
    forget_service,
    is_alive,
    marked_processes,
    read_service,
    start_service,
    stop_marked,
)

# A service with a child in a session of its own, as a flow run is.
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""
POLITE = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else, with a mark of its own."""
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK_VARIABLE: "another"})
    yield process
    process.kill()
    process.wait()


def start(folder: Path, code: str, name: str = "worker", mark: str = "ours") -> int:
    """Start a Python service and wait until it says that it is ready."""
    service = start_service(name, [sys.executable, "-c", code], os.environ, folder, mark=f"{mark}-{folder}")
    until(lambda: "ready" in Path(service.log).read_text())
    return service.pid


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reap(pid: int) -> None:
    """Take the end of our own child away, as `init` would."""
    os.waitpid(pid, 0)


def test_down_stops_a_service_with_its_detached_children(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    pid = start(tmp_path, PARENT)
    mark = f"ours-{tmp_path}"
    until(lambda: len(marked_processes(mark)) == 2)
    assert bring_down(tmp_path) == {"worker": 2}
    reap(pid)
    assert marked_processes(mark) == ()
    assert stranger.poll() is None
    assert bring_down(tmp_path) == {}


def test_down_finds_the_children_of_a_killed_service(tmp_path: Path) -> None:
    pid = start(tmp_path, PARENT)
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    assert not is_alive(read_service(tmp_path, "worker"))
    assert bring_down(tmp_path) == {"worker": 1}


def test_a_service_is_asked_in_its_own_way(tmp_path: Path) -> None:
    command = [sys.executable, "-c", POLITE]
    service = start_service("postgres", command, os.environ, tmp_path, mark=f"{tmp_path}", stop_signal=signal.SIGINT)
    until(lambda: "ready" in Path(service.log).read_text())
    assert bring_down(tmp_path) == {"postgres": 1}
    assert os.waitstatus_to_exitcode(os.waitpid(service.pid, 0)[1]) == 7


def test_a_service_does_not_get_what_it_is_to_do_without(tmp_path: Path) -> None:
    code = "import os, time; print(os.environ.get('SECRET'), 'ready', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "SECRET": "canary"}
    service = start_service("worker", command, environment, tmp_path, mark=f"{tmp_path}", without=("SECRET",))
    until(lambda: "ready" in Path(service.log).read_text())
    assert Path(service.log).read_text().startswith("None")
    assert read_service(tmp_path, "worker") == service
    bring_down(tmp_path)
    reap(service.pid)


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    pid = start(tmp_path, DEAF)
    assert stop_marked(f"ours-{tmp_path}", grace_s=0.3) == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_reused_process_number_is_not_ours(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    pid = start(tmp_path, DEAF)
    record = json.loads((tmp_path / "worker.json").read_text())
    (tmp_path / "worker.json").write_text(json.dumps({**record, "pid": stranger.pid}))
    assert not is_alive(read_service(tmp_path, "worker"))
    os.kill(pid, signal.SIGKILL)
    reap(pid)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "worker"}'])
def test_a_damaged_record_is_no_service(tmp_path: Path, text: str) -> None:
    (tmp_path / "worker.json").write_text(text)
    assert read_service(tmp_path, "worker") is None
    forget_service(tmp_path, "worker")
    assert not (tmp_path / "worker.json").exists()
