"""What the engine of Ray does and counts where no cluster is asked."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from mmpipe.engine.ray.cluster import RaySettings, room_for_workers
from mmpipe.engine.ray.engine import RayEngine
from mmpipe.engine.ray.node import report_node
from mmpipe.engine.work import WorkItem
from mmpipe.errors import ConfigError

MEMORY_BYTES = 200 << 20


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        RayEngine(RaySettings(address="auto"), MEMORY_BYTES) as engine,
        pytest.raises(ConfigError, match=r'pip install "mmpipe\[ray\]"'),
    ):
        list(engine.run("faulty_work:work", [WorkItem(name="a", payload=[("a", "fine")], timeout_s=60)]))


def test_nothing_to_do_asks_for_no_cluster() -> None:
    with RayEngine(RaySettings(address="203.0.113.1:6379"), MEMORY_BYTES) as engine:
        assert list(engine.run("faulty_work:work", [])) == []


def test_room_is_counted_node_by_node() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 1.5}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert room_for_workers(nodes, RaySettings()) == 4
    assert room_for_workers(nodes, RaySettings(cpus=2)) == 1
    assert room_for_workers(nodes, RaySettings(cpus=0.5, gpus=0.25)) == 4


def test_a_node_of_another_python_is_told_apart() -> None:
    here = report_node("", b"")
    other = replace(here, python="3.9", packages=tuple((name, "0.1") for name, _ in here.packages))
    assert here.differences(here) == ()
    assert here.differences(other)[0] == f"Python 3.9 where this process has Python {here.python}"
    assert any(text.startswith("numpy 0.1 where") for text in here.differences(other))
