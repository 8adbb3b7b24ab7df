"""A worker reads back what holds it: what was asked for and is not in force stops it before it sees a file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from mmpipe.config import EngineConfig, parse_config
from mmpipe.engine.work import WorkItem
from mmpipe.media.confine import InForce, observe_process
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.workers.workers import shared_engine

HELD = InForce(network_off=True, core_bytes=0, open_files=1024, dies_with_parent=True, no_new_privileges=True)


def test_a_worker_is_held_by_all_that_it_should_be(warm_workers: None) -> None:
    config = parse_config({}).model_copy(update={"engine": EngineConfig(workers=2)})
    with shared_engine(config) as engine:
        item = WorkItem(name="a", payload=None, timeout_s=60)
        (outcome,) = engine.run("mmpipe.steps.workers.worker:tell_confinement", [item])
    assert outcome.result is not None
    seen = decode(InForce, outcome.result)
    assert seen.faults() == ()
    assert seen.network_off == limit_in_a_child()
    assert observe_process().faults() != ()  # this process is not held: the answer is no constant


def limit_in_a_child() -> bool:
    """Say whether this system lets a process give its network away."""
    script = "from mmpipe.media.confine import limit_process; print(limit_process().network_off)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"core_bytes": -1}, "core dumps are on"),
        ({"open_files": -1}, "the number of open files is unlimited"),
        ({"open_files": 1 << 20}, "the number of open files is unlimited"),
        ({"dies_with_parent": False}, "it would outlive its parent"),
        ({"no_new_privileges": False}, "it could gain privileges"),
    ],
)
def test_what_is_not_in_force_is_named(change: dict[str, int], fault: str) -> None:
    assert HELD.faults() == ()
    assert replace(HELD, **change).faults() == (fault,)  # type: ignore[arg-type]
