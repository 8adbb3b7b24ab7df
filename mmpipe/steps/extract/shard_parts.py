"""What a worker says it is at, so that its death is blamed on the right clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Parts:
    """Tells the engine which part runs now, and knows the parts that ended a worker before.

    A part is an asset, or a micro-batch of several: one that ends its worker is run clip by clip.
    """

    def __init__(self, report: Callable[[str], None], deadly: Mapping[str, str]) -> None:
        """Begin between parts; `deadly` are parts and how they ended a worker."""
        self._report = report
        self._deadly = deadly
        self._now = ""

    def why_deadly(self, part: str) -> str:
        """Return how a part ended its worker, "" where it did not."""
        return self._deadly.get(part, "")

    def enter(self, part: str) -> None:
        """Say that a part begins; "" is between parts."""
        self._now = part
        self._report(part)

    def go_on(self) -> None:
        """Say that the part still runs: who waits for a device does not hang."""
        self._report(self._now)

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Say that a part runs for as long as the block lasts, and go back to the one before."""
        before = self._now
        if part != before:
            self.enter(part)
        yield
        if part != before:
            self.enter(before)
