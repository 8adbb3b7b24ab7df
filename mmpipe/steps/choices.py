"""The words by which a person or a flow chooses shards."""

from __future__ import annotations

from enum import StrEnum


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
    ALL = "all"  # everything again, complete or not
