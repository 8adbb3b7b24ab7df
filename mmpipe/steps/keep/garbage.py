"""What nothing rests on any more: one thing, and all that a collection found or removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Garbage:
    """One thing that nothing rests on."""

    # "snapshot", "object", "staging", "receipt", "lease", "checkpoint", "index", "mirror"; of a bucket also "upload",
    # "probe"
    kind: str
    path: str  # from the store's root; of a remote store's unfinished work from its half on this machine
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What would go, or went."""

    items: tuple[Garbage, ...]
    days: float
    deleted: bool

    @property
    def nbytes(self) -> int:
        """Return how many bytes that frees."""
        return sum(item.nbytes for item in self.items)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per kind."""
        kinds = sorted({item.kind for item in self.items})
        found = {kind: [item.nbytes for item in self.items if item.kind == kind] for kind in kinds}
        return [{"kind": kind, "count": len(sizes), "bytes": sum(sizes)} for kind, sizes in found.items()]
