"""What can be chosen where clips of one side are found by clips of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from mmpipe.config.table import FeatureName, Table


class RetrieveOptions(Table):
    """What can be chosen about a shared space of two sides."""

    query: tuple[FeatureName, ...] = Field(
        (), description="inputs of the asking side; none: the first by name. The other inputs are what is found"
    )
    dim: int = Field(64, ge=2, le=4096, description="size of the shared space")
    temperature: float = Field(0.07, ge=0.01, le=1, description="where the learnt temperature begins")
    anchor: FeatureName | None = Field(
        None, description="with several inputs of a side: bind each to this one; none: every two of them"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Which features ask and which are found; at most one side has several, and those are fused."""

    query: tuple[str, ...]
    items: tuple[str, ...]

    @property
    def fused(self) -> tuple[str, ...]:
        """Return the side that the fusion reads: the one of several features, the asking one where none is."""
        return self.items if len(self.items) > 1 else self.query

    @property
    def whole(self) -> tuple[str, ...]:
        """Return the other side."""
        return self.query if len(self.items) > 1 else self.items


def sides_of(features: Sequence[str], query: Sequence[str]) -> Sides:
    """Deal features to sides by their names without versions; raise ValueError where that gives no two sides."""
    wanted = {_unversioned(name) for name in query or sorted(features)[:1]}
    asking = tuple(name for name in features if _unversioned(name) in wanted)
    found = tuple(name for name in features if name not in asking)
    if not asking or not found:
        raise ValueError(
            f"goal = 'retrieve' needs inputs on both sides: goal_options.query = {sorted(wanted)} leaves "
            f"{list(asking)} that ask and {list(found)} that are found"
        )
    if len(asking) > 1 and len(found) > 1:
        raise ValueError(
            f"goal = 'retrieve' fuses one side: of {list(asking)} that ask and {list(found)} that are found, one side "
            "must be a single input. Say which by goal_options.query, or take inputs away"
        )
    return Sides(query=asking, items=found)


def _unversioned(feature: str) -> str:
    return feature.partition("@")[0]
