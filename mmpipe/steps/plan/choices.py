"""The words by which a person or a flow chooses shards."""

from __future__ import annotations

from enum import StrEnum

MAX_DAYS = 1_000  # of one backfill
MAX_IN_FLIGHT = 16  # days of one backfill at once
PATIENCE_S = 2 * 3600.0  # a batch takes minutes; nobody alive keeps one so much longer without being stuck
NEVER = "never extracted"  # why most shards are missing


class State(StrEnum):
    """How far a shard of a feature is."""

    COMPLETE = "complete"
    MISSING = "missing"  # never made
    STALE = "stale"  # made from something else
    FAILED = "failed"  # made, but clips of it were quarantined
    RUNNING = "running"  # somebody is making it now


class Only(StrEnum):
    """Which shards a plan takes up."""

    DUE = "due"  # missing or stale: what a night does
    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"
    ALL = "all"  # missing, stale and failed: whatever is not complete
