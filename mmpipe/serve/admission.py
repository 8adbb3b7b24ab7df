"""How many requests may be under way: those beyond are told at once to come back, and when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from mmpipe.serve.problems import Problem

_OLD_SHARE = 0.9  # of the running mean of how long a reading takes
_MOST_RETRY_S = 60


class Admission:
    """Counts the requests that are under way, and lets as many read as there are workers; in one event loop."""

    def __init__(self, workers: int, queue: int) -> None:
        """Begin empty."""
        self._workers, self._most = workers, workers + queue
        self._turns = asyncio.Semaphore(workers)
        self._mean_s = 0.5
        self.under_way = 0
        self.reading = 0

    @property
    def waiting(self) -> int:
        """Return how many have a place and no worker yet."""
        return max(self.under_way - self.reading, 0)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for a request. Raise Problem 429 where there is none."""
        if self.under_way >= self._most:
            raise Problem(
                status=429,
                code="busy",
                detail=f"{self.under_way} requests are under way, which is all that are let in",
                headers={"Retry-After": str(self.retry_after_s())},
            )
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def begin_turn(self) -> None:
        """Wait for a worker, and take it."""
        await self._turns.acquire()
        self.reading += 1

    def end_turn(self, took_s: float) -> None:
        """Let a worker go after so long."""
        self.reading -= 1
        self._mean_s = _OLD_SHARE * self._mean_s + (1 - _OLD_SHARE) * took_s
        self._turns.release()

    def retry_after_s(self) -> int:
        """Return in how many seconds a place is likely to be free."""
        return min(max(math.ceil(self.under_way * self._mean_s / self._workers), 1), _MOST_RETRY_S)
