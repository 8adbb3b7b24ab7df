"""How a step tells whoever waits how far it has come."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener; the command line draws bars, a flow updates an artifact."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` units."""

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Report units done."""


class Silent:
    """Hear nothing."""

    def start(self, stage: str, total: int) -> None:
        """Ignore."""

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Ignore."""


SILENT = Silent()
