"""Who stayed behind is found: the check of the rounds can fail."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import FLOW_VARIABLE, TOKEN_VARIABLE, Process, flows_and_children, house_processes, strays

WAIT = "import time; print('ready', flush=True); time.sleep(600)"
SERVICE, OTHER = 10, 30


def process(pid: int, parent: int, flow_run: str = "", command: str = "python") -> Process:
    environment = {"PATH": "/bin"} | ({FLOW_VARIABLE: flow_run} if flow_run else {})
    return Process(pid=pid, parent=parent, command=command, folder="/", environment=environment)


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ([process(SERVICE, 1), process(11, SERVICE)], []),
        ([process(SERVICE, 1), process(12, 1, "living")], []),
        ([process(SERVICE, 1), process(11, SERVICE, "ended")], [11]),  # under a worker, but its run is over
        ([process(SERVICE, 1), process(12, 1, "ended")], [12]),
        ([process(SERVICE, 1), process(OTHER, 1), process(31, OTHER)], [OTHER, 31]),  # a service that nobody knows
    ],
)
def test_a_stray_works_for_an_ended_run_or_descends_from_no_service(found: list[Process], left: list[int]) -> None:
    assert [it.pid for it in strays(found, {SERVICE}, {"living"})] == left


def test_a_flow_and_its_children_are_told_apart() -> None:
    worker, flow, child, other = process(1, 0), process(2, 1, "run"), process(3, 2, "run"), process(4, 1, "another")
    assert flows_and_children([worker, flow, child, other]) == ([flow, other], [child])


@pytest.fixture
def start() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in started:
        one.kill()
        one.communicate()


def test_real_processes_are_found_by_token_and_what_was_stripped_by_its_folder(
    start: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    token = uuid.uuid4().hex
    environments = [os.environ | {TOKEN_VARIABLE: token}, {}, os.environ | {TOKEN_VARIABLE: "another"}]
    for environment in environments:
        command = [sys.executable, "-c", WAIT]
        start.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE))
        assert start[-1].stdout.readline() == b"ready\n"  # type: ignore[union-attr]
    assert {it.pid for it in house_processes(token, tmp_path)} == {start[0].pid, start[1].pid}
    assert strays(house_processes(token, tmp_path), (), ()) != []
