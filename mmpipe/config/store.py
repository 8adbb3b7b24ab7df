"""How work is done and how the store is kept."""

from __future__ import annotations

from pydantic import Field

from mmpipe.config.table import Table


class EngineConfig(Table):
    """Who does the work on shards."""

    workers: int = Field(0, ge=0, le=256, description="worker processes; 0: one per core")
