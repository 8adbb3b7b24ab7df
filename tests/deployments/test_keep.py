"""The keeper: what dies is back, later each time, unless somebody is at work on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.down import bring_down
from deployments.keep import Keeper, Life, cut_logs, deaths_in_row, pause_s
from deployments.services import ROOT, Service, alone, is_alive, read_service, start_service

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder; nothing of it outlives the test."""
    services = tmp_path / "services"
    services.mkdir()
    yield services
    bring_down(services)


def start(folder: Path, name: str) -> Service:
    service = start_service(name, SLEEPER, os.environ, folder, mark=f"{name}-{folder}", port=4700, decided="d")
    until(lambda: "ready" in Path(service.log).read_text())
    return service


def kill(service: Service) -> None:
    os.kill(service.pid, signal.SIGKILL)
    os.waitpid(service.pid, 0)


def test_the_pause_doubles_up_to_a_minute() -> None:
    assert [pause_s(number) for number in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_s(10_000) == 60


def test_a_steady_life_is_forgiven() -> None:
    assert deaths_in_row(None, 5.0) == 1
    assert deaths_in_row(Life(number=2, born_s=100.0), 101.0) == 3
    assert deaths_in_row(Life(number=2, born_s=100.0), 1000.0) == 1


def test_what_died_is_back_with_all_that_was_decided_for_it(folder: Path) -> None:
    first = start(folder, "worker-cpu")
    keeper = Keeper(folder, os.environ)
    assert keeper.look(10.0) == ()
    kill(first)
    assert keeper.look(11.0) == (), "not at once: it may be about to be started by hand"
    assert keeper.look(12.0) == ("worker-cpu",)
    second = read_service(folder, "worker-cpu")
    assert second
    assert is_alive(second)
    assert second.pid != first.pid
    assert (second.mark, second.port, second.decided, second.command) == (first.mark, 4700, "d", first.command)


def test_who_dies_again_and_again_waits_longer(folder: Path) -> None:
    service: Service | None = start(folder, "server")
    keeper = Keeper(folder, os.environ)
    now_s, waits = 0.0, []
    for _ in range(3):
        assert service
        kill(service)
        died_s = now_s
        while keeper.look(now_s) == ():
            now_s += 0.5
        waits.append(now_s - died_s)
        service = read_service(folder, "server")
    assert waits == [1.0, 2.0, 4.0]


def test_the_database_comes_before_the_server_and_the_server_before_the_worker(folder: Path) -> None:
    services = [start(folder, name) for name in ("worker-cpu", "server", "desk", "postgres")]
    for service in services:
        kill(service)
    keeper = Keeper(folder, os.environ)
    keeper.look(1.0)
    assert keeper.look(2.0) == ("postgres", "server", "worker-cpu", "desk")


def test_while_up_or_down_is_at_work_the_keeper_keeps_still(folder: Path) -> None:
    kill(start(folder, "worker-cpu"))
    keeper = Keeper(folder, os.environ)
    with alone(folder):
        assert [keeper.look(float(now_s)) for now_s in range(5)] == [()] * 5
    keeper.look(5.0)
    assert keeper.look(6.0) == ("worker-cpu",)


def test_a_long_log_is_put_aside_and_its_writer_goes_on(folder: Path) -> None:
    writer = "import sys, time\nfor _ in range(6000):\n    print('line', flush=True)\n    time.sleep(0.1)"
    service = start_service("server", [sys.executable, "-c", writer], os.environ, folder, mark=f"log-{folder}")
    log = Path(service.log)
    until(lambda: "line" in log.read_text())
    cut_logs(folder, most_bytes=1 << 20)
    assert not log.with_suffix(".log.1").exists()
    cut_logs(folder, most_bytes=4)
    assert log.with_suffix(".log.1").read_text().startswith("line\n")
    until(lambda: log.stat().st_size)
    assert set(log.read_text().splitlines()) == {"line"}, "no hole is left where it was cut"


def test_the_real_keeper_brings_a_killed_service_back_and_down_ends_both(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    first = start(folder, "worker-cpu")
    keeper = start_service(
        "keeper", [sys.executable, "-m", "deployments.keep"], environment, folder, mark=f"k-{folder}"
    )
    try:
        until(lambda: (folder / "keeper.pid").exists())
        kill(first)
        until(lambda: (found := read_service(folder, "worker-cpu")) and found.pid != first.pid and is_alive(found))
        assert "started the worker-cpu again" in Path(keeper.log).read_text()
        again = subprocess.run(["ps", "-o", "stat=", "--ppid", str(keeper.pid)], capture_output=True, text=True)
        assert "Z" not in again.stdout
    finally:
        assert bring_down(folder) == {"keeper": 1, "worker-cpu": 1}
        os.waitpid(keeper.pid, 0)
