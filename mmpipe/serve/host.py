"""Which version answers now: a new one takes over at once, and the old one ends when its last question is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from mmpipe.serve.batcher import MicroBatcher
from mmpipe.serve.predictor import Predictor

MakeBatcher = Callable[[Predictor], MicroBatcher]


@dataclass(slots=True, kw_only=True, eq=False)
class Lane:
    """A version, and the questions that it began with."""

    predictor: Predictor
    batcher: MicroBatcher
    users: int = 0
    is_retired: bool = False


class Host:
    """Holds the lane of the version in use, and those that are not empty yet; lives in one event loop."""

    def __init__(self, make_batcher: MakeBatcher, executor: Executor) -> None:
        """Begin without a version: nothing is ready."""
        self._make_batcher = make_batcher
        self._executor = executor
        self._lane: Lane | None = None
        self._open: list[Lane] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._emptied = asyncio.Event()

    @property
    def lane(self) -> Lane | None:
        """Return the lane of the version that answers now; None before there is one."""
        return self._lane

    @property
    def depth(self) -> int:
        """Return how many questions wait for a network."""
        return sum(lane.batcher.depth for lane in self._open)

    async def take_over(self, predictor: Predictor) -> None:
        """Let a version that is warm answer from now on."""
        old, self._lane = self._lane, Lane(predictor=predictor, batcher=self._make_batcher(predictor))
        self._open.append(self._lane)
        if old is not None:
            old.is_retired = True
            self._close_if_empty(old)

    def hold(self, lane: Lane) -> None:
        """Keep a lane open, whoever takes over."""
        lane.users += 1

    def release(self, lane: Lane) -> None:
        """Let a lane go that was held."""
        lane.users -= 1
        self._close_if_empty(lane)

    def cancel(self) -> None:
        """End what any version still reads."""
        for lane in self._open:
            lane.predictor.cancel()

    async def close(self) -> None:
        """Let go of every version, once what was asked is answered."""
        if self._lane is not None:
            self._lane.is_retired = True
            self._close_if_empty(self._lane)
            self._lane = None
        while self._open or self._closing:
            self._emptied.clear()
            if self._closing:
                await asyncio.wait(set(self._closing))
            elif self._open:
                await self._emptied.wait()

    def _close_if_empty(self, lane: Lane) -> None:
        if not lane.is_retired or lane.users or lane not in self._open:
            return
        self._open.remove(lane)
        closing = asyncio.get_running_loop().run_in_executor(self._executor, lane.predictor.close)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._emptied.set()
