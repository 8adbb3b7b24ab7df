"""How clips are searched for."""

from __future__ import annotations

from pydantic import Field

from mmpipe.config.table import Table


class SearchConfig(Table):
    """When a search goes through all vectors, and when along a graph of them."""

    exact_up_to: int = Field(
        100_000,
        ge=0,
        description="clips up to which every vector is compared; above, along a graph (mmpipe[ann])",
    )
    graph_links: int = Field(32, ge=2, le=256, description="neighbours of a clip in the graph; more: larger, and finer")
    graph_reach: int = Field(256, ge=8, le=10_000, description="clips that a search along the graph looks at, at least")
