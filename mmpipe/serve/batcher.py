"""Answer several questions by one call: who comes while a call runs, or within a short window, goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from mmpipe.serve.predictor import Question, Said

Answer = Callable[[Sequence[Question]], Sequence[Said]]


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    question: Question
    said: asyncio.Future[Said]


@dataclass(slots=True, kw_only=True, eq=False)
class MicroBatcher:
    """Collects questions of one predictor; lives in one event loop, and makes one call at a time."""

    answer: Answer
    executor: Executor
    window_s: float
    max_questions: int
    is_more_coming: Callable[[], bool] = lambda: True  # nobody waits for others where there are none
    on_batch: Callable[[int], None] = lambda size: None
    _waiting: list[_Waiting] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None
    _call: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Return how many questions wait for a call."""
        return len(self._waiting)

    async def ask(self, question: Question) -> Said:
        """Wait for what is said about a question; raise what its call raised."""
        entry = _Waiting(question=question, said=asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._consider()
        return await entry.said

    def _consider(self) -> None:
        """Begin a call, or let it wait for others."""
        if self._call is not None:
            return
        if len(self._waiting) >= self.max_questions or not self.window_s or not self.is_more_coming():
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.window_s, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._call is not None:
            return
        self._waiting = [entry for entry in self._waiting if not entry.said.done()]  # who went away is not asked about
        batch, self._waiting = self._waiting[: self.max_questions], self._waiting[self.max_questions :]
        if batch:
            self._call = asyncio.get_running_loop().create_task(self._answer(batch))
            self._call.add_done_callback(self._landed)

    def _landed(self, call: asyncio.Task[None]) -> None:
        self._call = None
        if not call.cancelled():
            call.result()
        if self._waiting:
            self._begin()  # they waited for a whole call already

    async def _answer(self, batch: list[_Waiting]) -> None:
        self.on_batch(len(batch))
        try:
            said = await self._called([entry.question for entry in batch])
        except Exception as error:  # noqa: BLE001 - crosses to who asked
            if len(batch) == 1:
                _settle(batch[0], error)
                return
            for entry in batch:  # one of them is to blame: the others get their answers
                await self._answer([entry])
            return
        for entry, one in zip(batch, said, strict=True):
            _settle(entry, one)

    async def _called(self, questions: Sequence[Question]) -> Sequence[Said]:
        said = await asyncio.get_running_loop().run_in_executor(self.executor, self.answer, questions)
        if len(said) != len(questions):
            raise RuntimeError(f"{len(said)} answers to {len(questions)} questions")
        return said


def _settle(entry: _Waiting, outcome: Said | Exception) -> None:
    if entry.said.done():
        return
    if isinstance(outcome, Exception):
        entry.said.set_exception(outcome)
    else:
        entry.said.set_result(outcome)
