"""How a step tells whoever waits how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(slots=True, kw_only=True)
class Pace:
    """How fast a stage goes, and how long it will take; the caller has the clock."""

    total: int
    started_s: float
    done: int = 0

    def told(self, now_s: float) -> str:
        """Return the rate and the time left in words; "" where nothing can be said yet."""
        passed_s = now_s - self.started_s
        if not self.done or passed_s <= 0:
            return ""
        rate = self.done / passed_s
        said = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        left_s = round((self.total - self.done) / rate)
        return f"{said}, {_length(left_s)} left" if self.done < self.total else said


def _length(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
