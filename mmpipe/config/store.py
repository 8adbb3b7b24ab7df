"""How work is done and how the store is kept."""

from __future__ import annotations

from pydantic import Field

from mmpipe.config.table import Table


class EngineConfig(Table):
    """Who does the work on shards."""

    workers: int = Field(0, ge=0, le=256, description="worker processes; 0: one per core")


class RetentionConfig(Table):
    """What `mmpipe gc` keeps beside what snapshots and releases hold."""

    revisions: int = Field(3, ge=1, description="newest revisions of every partition whose bytes are kept")
    days: float = Field(7.0, ge=0, description="what is younger is never collected")
