"""Two rounds of the command, over a dozen clips; CI plays one round in the house of deployments/test_up.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.blows import Victim
from tests.faults.rounds import main

pytestmark = [pytest.mark.prefect, pytest.mark.sweep, pytest.mark.timeout(600)]


def test_struck_flows_workers_and_servers_leave_no_orphan_no_zombie_and_the_same_bytes(tmp_path: Path) -> None:
    sample = ["--rounds", "2", "--clips", "12", "--kinds", "nightly", "--victims", Victim.FLOW, Victim.SERVER]
    code = main([*sample, "--no-undisturbed", "--home", str(tmp_path / "home"), "--port", "4920"])
    summary = json.loads((tmp_path / "home" / "summary.json").read_text())
    assert (code, summary["violations"]) == (0, [])
    assert summary["rounds"] == 2
    assert {hit.split()[1] for hit in summary["hits"]} == {"server", "flow"}
