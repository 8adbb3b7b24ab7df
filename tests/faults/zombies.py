"""Runs that claim to be at work while no process works for them, and for how long that may be so."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tests.faults.house import Run

HEARTBEAT_WINDOW_S = 90.0
SLACK_S = 60.0  # heartbeats come every 30 s, and the server looks at its automations every few seconds
# How long a run may be in a state without a process of its own. Prefect itself ends a cancellation after 300 s.
LIMITS_S = {"RUNNING": HEARTBEAT_WINDOW_S + SLACK_S, "CANCELLING": 300.0 + SLACK_S, "PENDING": 900.0 + SLACK_S}


@dataclass(slots=True, kw_only=True)
class ZombieWatch:
    """Remembers since when each run is alone."""

    since_s: dict[str, float] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def look(self, runs: Iterable[Run], with_process: Collection[str], now_s: float) -> None:
        """Note who is alone now, and tell of those that have been so for too long."""
        for run in runs:
            if run.state not in LIMITS_S or run.id in with_process:
                self.since_s.pop(run.id, None)
                continue
            lonely_s = now_s - self.since_s.setdefault(run.id, now_s)
            if lonely_s > LIMITS_S[run.state]:
                self.found.setdefault(run.id, f"stuck for {lonely_s:.0f} s without a process: {run}")
